"""Tiny checkpoints with vision towers, made and run by the reference library, for the tests.

    python -m tools.make_vision_fixtures tests/fixtures/models

As `make_parity_fixtures`, with which they share the tokenizer and what is recorded of a text.
`expected_vision.safetensors` has what the tower made of images: their patches as bytes, in the
order in which the library's processor lays them, their grids, and the vectors that the decoder
takes, one image by itself and several in one call. `expected_seen.safetensors` has what the whole
model made of prompts in which some of these images stand: of each its tokens, which images, the
logits after every token and the greedy answer.
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
# Prompts: how many tokens of the text, or the number of an image.
PROMPTS: dict[str, tuple[int | str, ...]] = {
    "text": (20,),
    "one": (12, "0", 8),
    "several": (3, "2", 10, "1", 5, "0", 4),
    "together": (6, "1", "2", 9),
    "first": ("0", 12),
    "last": (30, "2"),
}
GREEDY_LENGTH = 32


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


def prompts(
    model: Any, ids: list[int], lengths: list[int]
) -> dict[str, tuple[list[int], list[int]]]:
    """The tokens of each prompt, and the numbers of its images.

    Args:
        model: whose tokens stand around images.
        ids: of the text.
        lengths: vectors that each image becomes.
    """
    config = model.config
    gemma = hasattr(config, "boi_token_index")
    begin = config.boi_token_index if gemma else config.vision_start_token_id
    end = config.eoi_token_index if gemma else config.vision_end_token_id
    found: dict[str, tuple[list[int], list[int]]] = {}
    for name, parts in PROMPTS.items():
        tokens: list[int] = []
        numbers: list[int] = []
        text = iter(ids)
        for part in parts:
            if isinstance(part, int):
                tokens += [next(text) for _ in range(part)]
            else:
                numbers.append(int(part))
                tokens += [begin, *[config.image_token_id] * lengths[int(part)], end]
        found[name] = tokens, numbers
    return found


def given(found: dict[str, torch.Tensor], numbers: list[int]) -> dict[str, Any]:
    """Images by their numbers, as the model takes them."""
    if not numbers:
        return {}
    if "pixels" in found:
        return {"pixel_values": normalized(found["pixels"][numbers])}
    counts = [rows * columns for rows, columns in GRIDS]
    patches = found["patches"].split(counts)
    return {
        "pixel_values": normalized(torch.cat([patches[number] for number in numbers])),
        "image_grid_thw": torch.tensor([(1, *GRIDS[number]) for number in numbers]),
    }


def see(model: Any, tokens: list[int], images: dict[str, Any]) -> torch.Tensor:
    """Logits after every token, by one pass without a cache."""
    whole = torch.tensor([tokens])
    kinds = (whole == model.config.image_token_id).long()
    gemma = hasattr(model.config, "boi_token_index")
    name = "token_type_ids" if gemma else "mm_token_type_ids"
    with torch.no_grad():
        return model(whole, **{name: kinds}, **images, use_cache=False).logits[0].float()


def record_seen(
    name: str, model: Any, directory: Path, ids: list[int], found: dict[str, torch.Tensor]
) -> None:
    """Write what a model makes of prompts with images beside its checkpoint."""
    each = found["vectors"].shape[1] if "pixels" in found else 0
    lengths = [each or rows * columns // 4 for rows, columns in GRIDS]
    expected: dict[str, np.ndarray] = {}
    gaps: list[float] = []
    for prompt, (tokens, numbers) in prompts(model, ids, lengths).items():
        images, whole = given(found, numbers), list(tokens)
        logits = after = see(model, whole, images)
        for _ in range(GREEDY_LENGTH):
            best = torch.topk(after[-1], 2)
            gaps.append(float(best.values[0] - best.values[1]))
            whole.append(int(best.indices[0]))
            if whole[-1] == model.config.image_token_id:
                raise ValueError(f"{name} answers {prompt} with the token of images")
            after = see(model, whole, images)
        expected |= {
            f"{prompt}.tokens": np.array(tokens, np.int32),
            f"{prompt}.images": np.array(numbers, np.int32),
            f"{prompt}.logits": logits.numpy(),
            f"{prompt}.greedy": np.array(whole[len(tokens) :], np.int32),
        }
    tqdm.write(f"{name}: smallest greedy margin with images {min(gaps):.1e}")
    save_file(expected, directory / "expected_seen.safetensors")


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
    record_seen(name, model, directory, ids, found)
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
