"""Quantized checkpoints packed from known codes, number by number, and what they stand for."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from support.published import LLAMA, random_tensors, write_published

FLOAT8 = jnp.dtype(jnp.float8_e4m3fn)
Tensors = dict[str, np.ndarray]
Draw = Callable[[np.random.Generator, str, tuple[int, int]], tuple[Tensors, np.ndarray]]


@dataclass(frozen=True)
class Form:
    """A form of quantization.

    Attributes:
        draw: tensors for a module of this name and shape, and the matrix that they stand for.
        said: what config.json has under `key`.
        key: see `said`; or the name of a file of its own.
    """

    draw: Draw
    said: dict[str, Any] = field(default_factory=dict)
    key: str = "quantization_config"


def words(codes: Iterable[Iterable[int]], bits: int, less: int = 0) -> np.ndarray:
    """Each row's codes in words of 32 bits, lowest first, each word less a number."""
    each = 32 // bits
    rows = []
    for row in codes:
        numbers = [int(code) for code in row]
        starts = range(0, len(numbers), each)
        whole = [
            sum(code << bits * place for place, code in enumerate(numbers[start : start + each]))
            for start in starts
        ]
        rows.append([(word - less) % 2**32 for word in whole])
    return np.array(rows, np.uint32).view(np.int32)


def scales_of(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Scales that are no powers of two."""
    return generator.uniform(0.001, 0.02, shape).astype(jnp.dtype(dtype))


def spread(
    codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray, down: np.ndarray, across: np.ndarray
) -> np.ndarray:
    """The matrix, given which row and column of the grid each of its own belongs to."""
    place = np.ix_(down, across)
    return (codes - zeros[place]).astype(np.float32) * scales.astype(np.float32)[place]


def blocks(shape: tuple[int, int], block: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """For each row and for each column, the block that it is in; 0 stands for all of them."""
    down, across = (
        np.arange(size) // (side or size) for size, side in zip(shape, block, strict=True)
    )
    return down, across


def grid(down: np.ndarray, across: np.ndarray) -> tuple[int, int]:
    """How many blocks there are."""
    return int(down.max()) + 1, int(across.max()) + 1


def floats(
    block: tuple[int, int],
    scale: str = "weight_scale",
    dtype: str = "float32",
    flat: bool = False,
    beside: str = "input_scale",
) -> Draw:
    """Eight-bit floats with a scale for each block."""

    def draw(generator: np.random.Generator, name: str, shape: tuple[int, int]):
        codes = generator.standard_normal(shape, np.float32).astype(FLOAT8)
        down, across = blocks(shape, block)
        scales = scales_of(generator, grid(down, across), dtype)
        weight = spread(codes.astype(np.float32), np.zeros(scales.shape), scales, down, across)
        tensors = {"weight": codes, scale: scales.reshape(-1) if flat else scales}
        return named(name, tensors | {beside: np.ones(1, np.float32)}), weight

    return draw


def integers(
    block: tuple[int, int], dtype: str = "bfloat16", bits: int = 8, symmetric: bool = True
) -> Draw:
    """Integers in bytes."""

    def draw(generator: np.random.Generator, name: str, shape: tuple[int, int]):
        half = 2 ** (bits - 1)
        codes = generator.integers(-half, half, shape)
        down, across = blocks(shape, block)
        scales = scales_of(generator, grid(down, across), dtype)
        zeros = generator.integers(-half, half, scales.shape) * (not symmetric)
        tensors = {"weight": codes.astype(np.int8), "weight_scale": scales}
        if not symmetric:
            tensors["weight_zero_point"] = zeros.astype(np.int8)
        return named(name, tensors), spread(codes, zeros, scales, down, across)

    return draw


def packed(
    block: tuple[int, int], bits: int = 4, symmetric: bool = True, index: str | None = None
) -> Draw:
    """Integers in words, as compressed-tensors packs them.

    Args:
        block: rows and columns that share a scale; 0 for all.
        bits: of a code.
        symmetric: there are no zero points.
        index: `ordered`, `unset` (less than any group), or None for no tensor.
    """

    def draw(generator: np.random.Generator, name: str, shape: tuple[int, int]):
        half = 2 ** (bits - 1)
        codes = generator.integers(-half, half, shape)
        down, across = blocks(shape, block)
        if index == "ordered":
            across = generator.permutation(across)
        scales = scales_of(generator, grid(down, across), "bfloat16")
        zeros = generator.integers(-half, half, scales.shape) * (not symmetric)
        tensors = {
            "weight_packed": words(codes + half, bits),
            "weight_scale": scales,
            "weight_shape": np.array(shape, np.int64),
        }
        if not symmetric:
            tensors["weight_zero_point"] = words((zeros + half).T, bits).T
        if index is not None:
            groups = across if index == "ordered" else np.full(len(across), -1)
            tensors["weight_g_idx"] = groups.astype(np.int32)
        return named(name, tensors), spread(codes, zeros, scales, down, across)

    return draw


def gptq(
    group: int,
    bits: int = 4,
    lowest_zero: int = 1,
    less: int | None = None,
    index: str | None = "plain",
) -> Draw:
    """Integers in words down the input axis.

    Args:
        group: columns of a group; 0 for all.
        bits: of a code.
        lowest_zero: the least zero point.
        less: what is taken off each word of zero points; None for one off each zero point.
        index: `plain`, `ordered`, `unset` (zeros), or None for no tensor.
    """

    def draw(generator: np.random.Generator, name: str, shape: tuple[int, int]):
        codes = generator.integers(0, 2**bits, shape)
        down, across = blocks(shape, (1, group))
        if index == "ordered":
            across = generator.permutation(across)
        scales = scales_of(generator, grid(down, across), "float16")
        zeros = generator.integers(lowest_zero, 2**bits, scales.shape)
        stored = words((zeros - 1).T, bits) if less is None else words(zeros.T, bits, less)
        tensors = {
            "qweight": words(codes, bits).T,
            "qzeros": stored,
            "scales": scales.T,
        }
        if index is not None:
            tensors["g_idx"] = (across * (index != "unset")).astype(np.int32)
        return named(name, tensors), spread(codes, zeros, scales, down, across)

    return draw


def awq(group: int) -> Draw:
    """Four-bit integers in words along the output axis, even columns of eight first."""

    def in_order(numbers: np.ndarray) -> np.ndarray:
        order = [base + place for base in range(0, len(numbers), 8) for place in EVEN_FIRST]
        return words(numbers[order].T, 4)

    def draw(generator: np.random.Generator, name: str, shape: tuple[int, int]):
        codes = generator.integers(0, 16, shape)
        down, across = blocks(shape, (1, group))
        scales = scales_of(generator, grid(down, across), "float16")
        zeros = generator.integers(0, 16, scales.shape)
        tensors = {"qweight": in_order(codes), "qzeros": in_order(zeros), "scales": scales.T}
        return named(name, tensors), spread(codes, zeros, scales, down, across)

    return draw


EVEN_FIRST = (0, 2, 4, 6, 1, 3, 5, 7)


def named(module: str, tensors: Tensors) -> Tensors:
    """Tensors under the names of a module's, contiguous as files have them."""
    return {f"{module}.{suffix}": np.ascontiguousarray(value) for suffix, value in tensors.items()}


def compressed(layout: str, weights: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A config of compressed-tensors with one group."""
    group = {
        "input_activations": {"dynamic": True, "num_bits": 8, "strategy": "token", "type": "int"},
        "output_activations": None,
        "targets": ["Linear"],
        "weights": weights | {"dynamic": False, "observer": "minmax"},
    }
    return {
        "config_groups": {"group_0": group},
        "format": layout,
        "global_compression_ratio": 1.5,
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    } | more


def int4(group_size: int, **more: Any) -> dict[str, Any]:
    """Weights of four bits in groups."""
    return {
        "actorder": None,
        "group_size": group_size,
        "num_bits": 4,
        "strategy": "group",
        "symmetric": True,
        "type": "int",
    } | more


FLOAT = {"num_bits": 8, "type": "float", "symmetric": True}
INT = {"num_bits": 8, "type": "int", "symmetric": True}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}
GPTQ = {
    "quant_method": "gptq",
    "bits": 4,
    "group_size": 16,
    "damp_percent": 0.1,
    "desc_act": False,
    "sym": False,
    "true_sequential": True,
    "model_name_or_path": None,
    "model_file_base_name": "model",
}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 16, "version": "gemm", "zero_point": True}
ONES = {bits: sum(1 << place for place in range(0, 32, bits)) for bits in (2, 4, 8)}


def mixed(generator: np.random.Generator, name: str, shape: tuple[int, int]):
    """Three groups of `MIXED`."""
    if name.endswith("down_proj"):
        return packed((1, 0), bits=8)(generator, name, shape)
    if name == "model.layers.0.self_attn.q_proj":
        return floats((0, 0), flat=True)(generator, name, shape)
    if name.startswith("model.layers.1.self_attn"):
        tensor = generator.standard_normal(shape, np.float32).astype(jnp.bfloat16)
        return {f"{name}.weight": tensor}, tensor
    return packed((1, 16), symmetric=False)(generator, name, shape)


MIXED = compressed(
    "mixed-precision",
    {},
    ignore=["lm_head", "re:.*layers.1.self_attn.*"],
    config_groups={
        "group_0": {
            "targets": ["Linear"],
            "weights": int4(16, symmetric=False),
            "format": "pack-quantized",
        },
        "group_1": {
            # What is named in full is another group's.
            "targets": ["re:.*down_proj$", "re:.*q_proj$"],
            "weights": INT | {"strategy": "channel"},
            "format": "pack-quantized",
        },
        "group_2": {
            "targets": ["model.layers.0.self_attn.q_proj"],
            "weights": FLOAT | {"strategy": "tensor"},
            "format": "float-quantized",
        },
    },
)

FORMS: dict[str, Form] = {
    "ct-float-tensor": Form(
        floats((0, 0), flat=True),
        compressed("float-quantized", FLOAT | {"strategy": "tensor"}),
    ),
    "ct-float-channel": Form(
        floats((1, 0), dtype="bfloat16"),
        compressed("float-quantized", FLOAT | {"strategy": "channel"}),
    ),
    "ct-float-block": Form(
        floats((24, 20)),
        compressed("float-quantized", FLOAT | {"strategy": "block", "block_structure": [24, 20]}),
    ),
    "ct-naive": Form(
        floats((1, 0)),
        compressed("naive-quantized", FLOAT | {"strategy": "channel"}),
        key="compression_config",
    ),
    "ct-int-channel": Form(
        integers((1, 0)), compressed("int-quantized", INT | {"strategy": "channel"})
    ),
    "ct-int-tensor": Form(
        integers((0, 0), dtype="float32"),
        compressed("int-quantized", INT | {"strategy": "tensor"}),
    ),
    "ct-int-zeros": Form(
        integers((1, 0), symmetric=False),
        compressed("int-quantized", INT | {"strategy": "channel", "symmetric": False}),
    ),
    "ct-int-4-bits": Form(integers((1, 16), bits=4), compressed("int-quantized", int4(16))),
    "ct-packed": Form(packed((1, 16)), compressed("pack-quantized", int4(16))),
    "ct-packed-zeros": Form(
        packed((1, 16), symmetric=False),
        compressed("pack-quantized", int4(16, symmetric=False)),
    ),
    "ct-packed-8-bits": Form(
        packed((1, 8), bits=8, symmetric=False),
        compressed("pack-quantized", int4(8, num_bits=8, symmetric=False)),
    ),
    "ct-packed-channel": Form(
        packed((1, 0)), compressed("pack-quantized", int4(-1, strategy="channel"))
    ),
    "ct-packed-ordered": Form(
        packed((1, 16), symmetric=False, index="ordered"),
        compressed("pack-quantized", int4(16, symmetric=False, actorder="group")),
    ),
    "ct-packed-unset": Form(
        packed((1, 16), index="unset"), compressed("pack-quantized", int4(16, actorder="group"))
    ),
    "ct-packed-channel-zeros": Form(
        packed((1, 0), symmetric=False),
        compressed("pack-quantized", int4(-1, strategy="channel", symmetric=False)),
    ),
    "ct-mixed": Form(mixed, MIXED),
    "fp8-block": Form(
        floats((24, 20), "weight_scale_inv"),
        FP8 | {"weight_block_size": [24, 20], "modules_to_not_convert": ["lm_head"]},
    ),
    "fp8-default": Form(floats((128, 128), "weight_scale_inv", "bfloat16"), FP8),
    "fp8-powers": Form(
        floats((16, 16), "weight_scale_inv", "float8_e8m0fnu"),
        FP8 | {"weight_block_size": [16, 16], "scale_fmt": "ue8m0"},
    ),
    "fp8-one-inverse": Form(floats((0, 0), "weight_scale_inv"), FP8 | {"weight_block_size": None}),
    "fp8-by-name": Form(
        floats((0, 0), flat=True),
        FP8 | {"ignored_layers": ["lm_head"], "kv_cache_scheme": "static"},
    ),
    "fp8-tensor": Form(
        floats((0, 0), flat=True),
        FP8 | {"activation_scheme": "static", "weight_block_size": None},
    ),
    "gptq": Form(gptq(16), GPTQ),
    "gptq-8-bits": Form(gptq(16, bits=8), GPTQ | {"bits": 8}),
    "gptq-2-bits": Form(gptq(16, bits=2), GPTQ | {"bits": 2}),
    "gptq-ordered": Form(gptq(16, index="ordered"), GPTQ | {"desc_act": True}),
    "gptq-unset": Form(gptq(16, index="unset"), GPTQ),
    "gptq-no-index": Form(gptq(16, index=None), GPTQ | {"checkpoint_format": "gptq"}),
    "gptq-rows": Form(gptq(0), GPTQ | {"group_size": -1}),
    "gptq-uneven": Form(gptq(20), GPTQ | {"group_size": 20}),
    "gptq-borrowed": Form(
        gptq(16, lowest_zero=0, less=ONES[4]),
        GPTQ | {"checkpoint_format": "gptq", "meta": {"quantizer": ["gptqmodel:4.0.0"]}},
    ),
    "gptq-v2": Form(
        gptq(16, lowest_zero=0, less=0),
        GPTQ | {"checkpoint_format": "gptq_v2", "dynamic": {"-:.*gate$": {}}},
    ),
    "gptq-file": Form(
        gptq(16),
        {name: value for name, value in GPTQ.items() if name != "quant_method"},
        key="quantize_config.json",
    ),
    "awq": Form(awq(16), AWQ | {"modules_to_not_convert": None}),
    "awq-rows": Form(awq(0), AWQ | {"group_size": -1}),
    "awq-file": Form(
        awq(16),
        {"zero_point": True, "q_group_size": 16, "w_bit": 4, "version": "GEMM"},
        key="quant_config.json",
    ),
}


def random_quantized(form: Form, seed: int = 0) -> tuple[Tensors, Tensors]:
    """The tensors of a tiny checkpoint as stored, and as they were before."""
    generator = np.random.default_rng(seed)
    stored, plain = {}, random_tensors()
    for name, tensor in plain.items():
        if "_proj." not in name:
            stored[name] = tensor
            continue
        parts, plain[name] = form.draw(generator, name.removesuffix(".weight"), tensor.shape)
        stored |= parts
    return stored, plain


def write_quantized(
    directory: Path, form: Form, stored: Tensors, shards: int = 1, **changes: Any
) -> Path:
    """Write a checkpoint; `changes` are to what is said of its quantization."""
    said = form.said | changes
    if form.key.endswith(".json"):
        write_published(directory, stored, shards=shards)
        (directory / form.key).write_text(json.dumps(said))
        return directory
    return write_published(directory, stored, LLAMA | {form.key: said}, shards)
