"""Prompts with images, and what the reference library made of them, for tests."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from safetensors.numpy import load_file
from support.towers import FIXTURES, seen

from model.families.registry import read_config
from model.vision.loading import read_vision
from serve.engine.prompt_images import PromptImage

NAMES = ("text", "one", "several", "together", "first", "last")


@dataclass(frozen=True)
class SeenPrompt:
    """A prompt.

    Attributes:
        tokens: ids.
        images: in it.
        numbers: of these images in their fixture.
        logits: after every token.
        greedy: the answer.
    """

    tokens: list[int]
    images: list[PromptImage]
    numbers: list[int]
    logits: np.ndarray
    greedy: list[int]


def seen_prompt(fixture: str, name: str) -> SeenPrompt:
    """One of `NAMES`, of a model that sees."""
    found = load_file(FIXTURES / fixture / "expected_seen.safetensors")
    vision = read_vision(FIXTURES / fixture)
    assert vision is not None
    tokens = found[f"{name}.tokens"].tolist()
    numbers = found[f"{name}.images"].tolist()
    images: list[PromptImage] = []
    start = 0
    for number in numbers:
        patches, grid = seen(fixture).images[number]
        start = tokens.index(vision.image_token, start)
        count = vision.tokens(len(patches))
        digest = sha256(patches.tobytes()).digest()
        images.append(PromptImage(start, count, patches, grid, digest))
        start += count
    return SeenPrompt(
        tokens, images, numbers, found[f"{name}.logits"], found[f"{name}.greedy"].tolist()
    )


def window_of(fixture: str) -> int:
    """The shortest window of a model's layers."""
    layers = read_config(FIXTURES / fixture).layers
    return min((layer.window for layer in layers if layer.window), default=0)
