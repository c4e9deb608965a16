"""Tiny checkpoints with vision towers, made and run by the reference library, for the tests.

    python -m tools.make_vision_fixtures tests/fixtures/models

As `make_parity_fixtures`, with which they share the tokenizer and what is recorded of a text.
`expected_vision.safetensors` has what the tower made of images: their patches as bytes, in the
order in which the library's processor lays them, their grids, and the vectors that the decoder
takes, one image by itself and several in one call.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from tqdm import tqdm

from tools.make_parity_fixtures import SHAPE, TEXT, TOKENIZER, randomize, read_tokenizer, record

_TEXT = {**SHAPE, "head_dim": 16}
_VISION = {"hidden_size": 32, "intermediate_size": 48, "hidden_act": "gelu_pytorch_tanh"}
# Rows and columns of patches of images that go through one call of Qwen3-VL's tower.
GRIDS = ((6, 6), (2, 10), (12, 4), (14, 18))
# Images that go through one call of Gemma 3's.
IMAGES = 3


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint to make.

    Attributes:
        family: the library's class of the config, without `Config`.
        config: keys of the config.
        look: runs the tower on images.
    """

    family: str
    config: dict[str, Any]
    look: Callable[[Any, np.random.Generator], dict[str, torch.Tensor]]


def normalized(patches: torch.Tensor) -> torch.Tensor:
    """Bytes as both processors make numbers of them: mean and deviation 0.5 of a range of one."""
    return (patches.float() / 255 - 0.5) / 0.5


def look_gemma(model: Any, generator: np.random.Generator) -> dict[str, torch.Tensor]:
    """Gemma 3's vectors of images of the one size that it takes."""
    side = model.config.vision_config.image_size
    pixels = torch.from_numpy(generator.integers(0, 256, (IMAGES, 3, side, side), np.uint8))
    vectors = model.get_image_features(normalized(pixels)).pooler_output
    return {"pixels": pixels, "vectors": vectors}


def look_qwen(model: Any, generator: np.random.Generator) -> dict[str, torch.Tensor]:
    """Qwen3-VL's vectors of images of several sizes."""
    vision = model.config.vision_config
    width = 3 * vision.patch_size**2
    found: dict[str, torch.Tensor] = {"grids": torch.tensor(GRIDS, dtype=torch.int32)}
    count = sum(rows * columns for rows, columns in GRIDS)
    once = generator.integers(0, 256, (count, 3, 1, width // 3), np.uint8)
    # An image is a film of equal frames.
    frames = np.repeat(once, vision.temporal_patch_size, axis=2).reshape(count, -1)
    found["patches"] = torch.from_numpy(frames)
    grids = torch.tensor([(1, *grid) for grid in GRIDS])
    features = model.get_image_features(normalized(found["patches"]), grids)
    found["vectors"] = torch.cat(features.pooler_output)
    found["deepstack"] = torch.stack([torch.cat(each) for each in features.deepstack_features])
    return found


CHECKPOINTS: dict[str, Checkpoint] = {
    "gemma-3-vision": Checkpoint(
        "Gemma3",
        {
            "text_config": _TEXT
            | {"sliding_window": 8, "num_hidden_layers": 7, "query_pre_attn_scalar": 24},
            "vision_config": _VISION
            | {
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "image_size": 48,
                "patch_size": 4,
                "vision_use_head": False,
            },
            "mm_tokens_per_image": 16,
            "boi_token_index": 317,
            "eoi_token_index": 318,
            "image_token_index": 319,
        },
        look_gemma,
    ),
    "qwen-3-vl": Checkpoint(
        "Qwen3VL",
        {
            "text_config": _TEXT
            | {
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10_000.0,
                    "mrope_section": [4, 2, 2],
                    "mrope_interleaved": True,
                },
            },
            "vision_config": _VISION
            | {
                "depth": 4,
                "num_heads": 4,
                "patch_size": 4,
                "temporal_patch_size": 2,
                "spatial_merge_size": 2,
                "num_position_embeddings": 64,
                "out_hidden_size": 32,
                "deepstack_visual_indexes": [0, 2],
            },
            "image_token_id": 319,
            "video_token_id": 316,
            "vision_start_token_id": 317,
            "vision_end_token_id": 318,
            "tie_word_embeddings": False,
        },
        look_qwen,
    ),
}


def make(name: str, checkpoint: Checkpoint, directory: Path, ids: list[int]) -> None:
    """Write one checkpoint's directory; `ids` are the text's."""
    config = getattr(transformers, f"{checkpoint.family}Config")(**checkpoint.config)
    torch.manual_seed(sum(name.encode()))
    library: Any = transformers.AutoModelForImageTextToText
    model = library.from_config(config, attn_implementation="eager").float().eval()
    randomize(model)
    directory.mkdir(parents=True, exist_ok=True)
    # A copy: converting a model rounds its rotary frequencies too.
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(directory)
    record(name, model, directory, ids)
    with torch.no_grad():
        found = checkpoint.look(model, np.random.default_rng(sum(name.encode())))
    largest = max(float(found[key].abs().max()) for key in found if found[key].is_floating_point())
    tqdm.write(f"{name}: vectors within ±{largest:.1f}")
    arrays = {key: value.contiguous().numpy() for key, value in found.items()}
    save_file(arrays, directory / "expected_vision.safetensors")


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(list(CHECKPOINTS)), help="Only these.")
def main(directory: Path, only: tuple[str, ...]) -> None:
    """Write the fixtures of every checkpoint, or of some, into DIRECTORY."""
    ids = read_tokenizer(directory / TOKENIZER).encode(TEXT)
    for name in tqdm(only or list(CHECKPOINTS), unit="checkpoint", disable=None):
        make(name, CHECKPOINTS[name], directory / name, ids)


if __name__ == "__main__":
    main()
