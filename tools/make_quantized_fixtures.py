"""Small quantized matrices, written and read by the formats' own programs, for the tests.

    python -m tools.make_quantized_fixtures tests/fixtures/quantized

Needs torch, transformers and compressed-tensors (the extra `fixtures`), which nothing else here
does: a developer runs it when a form is added, and commits what it writes. Each form becomes a
directory with what its `config.json` says of it, a matrix as its program stores it, and
`expected.safetensors`: what that program makes of it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationConfig,
    QuantizationScheme,
    QuantizationStatus,
)
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import FineGrainedFP8Config
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize

MODULE = "model.layers.0.mlp.down_proj"
SHAPE = (24, 64)
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Compressed:
    """A form of compressed-tensors.

    Attributes:
        layout: its format.
        weights: settings of its weights.
        scale: dtype of its scales.
        shape: of the matrix.
    """

    layout: str
    weights: dict[str, Any]
    scale: torch.dtype = torch.float32
    shape: tuple[int, int] = SHAPE


_FLOAT = {"num_bits": 8, "type": "float"}
_GROUPS = {"num_bits": 4, "strategy": "group", "group_size": 16}
COMPRESSED: dict[str, Compressed] = {
    "float-tensor": Compressed("float-quantized", _FLOAT | {"strategy": "tensor"}),
    "float-channel": Compressed(
        "float-quantized", _FLOAT | {"strategy": "channel"}, torch.bfloat16
    ),
    "float-block": Compressed(
        "float-quantized", _FLOAT | {"strategy": "block", "block_structure": [16, 24]}
    ),
    "int-channel": Compressed("int-quantized", {"strategy": "channel"}),
    "int-channel-zeros": Compressed(
        "int-quantized", {"strategy": "channel", "symmetric": False}, torch.bfloat16
    ),
    "packed-4": Compressed("pack-quantized", _GROUPS, torch.bfloat16),
    "packed-4-zeros": Compressed("pack-quantized", _GROUPS | {"symmetric": False}),
    "packed-4-channel-zeros": Compressed(
        "pack-quantized",
        {"num_bits": 4, "strategy": "channel", "symmetric": False},
        # Which fills no words.
        shape=(20, 36),
    ),
    "packed-8-zeros": Compressed("pack-quantized", _GROUPS | {"num_bits": 8, "symmetric": False}),
    "packed-2": Compressed("pack-quantized", _GROUPS | {"num_bits": 2}),
}
FLOAT8: dict[str, FineGrainedFP8Config] = {
    "fp8-block": FineGrainedFP8Config(weight_block_size=(8, 32)),
    "fp8-powers": FineGrainedFP8Config(weight_block_size=(8, 32), scale_fmt="ue8m0"),
}


def draw(name: str, shape: tuple[int, int] = SHAPE) -> torch.Tensor:
    """A matrix whose rows are of different sizes, and not around zero."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    rows = torch.logspace(-2, 0, shape[0])[:, None]
    return rows * (torch.randn(shape, generator=generator) + 0.25)


def compress(form: Compressed, weight: torch.Tensor) -> tuple[dict[str, Any], Tensors, Tensors]:
    """What config.json says, the tensors, and the matrix under its name."""
    args = QuantizationArgs(**form.weights)
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=args,
        # By these the package tells formats of bytes from packed ones.
        input_activations=None
        if form.layout == "pack-quantized"
        else QuantizationArgs(num_bits=8, type=args.type, strategy="token", dynamic=True),
    )
    low, high = extremes(weight, args)
    scale, zeros = calculate_qparams(low, high, args)
    state = {
        "weight": weight,
        "weight_scale": scale.to(form.scale),
        "weight_zero_point": zeros.to(torch.int8 if args.type == "int" else args.zp_dtype),
    }
    compressor = BaseCompressor.get_value_from_registry(form.layout)
    stored = compressor.compress(state, scheme)
    made = compressor.decompress(stored, scheme)["weight"]
    config = QuantizationConfig(
        config_groups={"group_0": scheme},
        format=form.layout,
        quantization_status=QuantizationStatus.COMPRESSED,
        ignore=["lm_head"],
    )
    return config.model_dump(mode="json"), stored, {"weight": made}


def extremes(weight: torch.Tensor, args: QuantizationArgs) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the greatest value of each part of a matrix that has a scale of its own."""
    if args.strategy == "tensor":
        return weight.min().reshape(1), weight.max().reshape(1)
    if args.strategy == "block":
        rows, columns = args.block_structure
        pieces = [list(band.split(columns, dim=1)) for band in weight.split(rows, dim=0)]
        return tuple(
            torch.stack([torch.stack([bound(piece) for piece in band]) for band in pieces])
            for bound in (torch.min, torch.max)
        )
    rows, columns = weight.shape
    groups = weight.reshape(rows, -1, args.group_size if args.strategy == "group" else columns)
    return groups.amin(-1), groups.amax(-1)


def quantize_float8(
    config: FineGrainedFP8Config, weight: torch.Tensor
) -> tuple[dict[str, Any], Tensors, Tensors]:
    """As `compress`."""
    quantizer = SimpleNamespace(quantization_config=config)
    stored = Fp8Quantize(quantizer).convert({f"{MODULE}.weight": weight})
    stored = {name.removeprefix(f"{MODULE}."): value for name, value in stored.items()}
    made = Fp8Dequantize(quantizer).convert(stored)["weight"]
    return config.to_dict(), stored, {"weight": made}


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def main(directory: Path) -> None:
    """Write the fixtures of every form into DIRECTORY."""
    made = {name: compress(form, draw(name, form.shape)) for name, form in COMPRESSED.items()} | {
        name: quantize_float8(config, draw(name)) for name, config in FLOAT8.items()
    }
    for name, (said, stored, expected) in tqdm(made.items(), unit="form", disable=None):
        place = directory / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(
            json.dumps({"quantization_config": said}, indent=2) + "\n"
        )
        for file, tensors in (("model", stored), ("expected", expected)):
            contiguous = {f"{MODULE}.{key}": value.contiguous() for key, value in tensors.items()}
            save_file(contiguous, place / f"{file}.safetensors")


if __name__ == "__main__":
    main()
