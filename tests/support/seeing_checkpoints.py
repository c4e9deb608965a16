"""The checkpoints of models that see, as directories that a server takes.

Their tokenizer has a character for each id, so that any ids of a fixture are a text, and their
pictures are those whose patches the fixture has.
"""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from support.prompts_seen import SeenPrompt
from support.seeing import data_url
from support.towers import FIXTURES, GEMMA

from model.vision.config import Gemma3VisionConfig
from model.vision.loading import read_vision

# The first id's; none of them is white space, or has another form.
_FIRST = 0x4E00
_MARKS = {
    GEMMA: ("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    "": ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
}


def text_of(ids: list[int]) -> str:
    """The text of which these are the ids."""
    return "".join(chr(_FIRST + token) for token in ids)


def ids_of(text: str) -> list[int]:
    """The ids of an answer."""
    return [ord(character) - _FIRST for character in text]


def checkpoint(fixture: str, target: Path) -> Path:
    """A fixture's checkpoint with tokenizer, chat template and image processor."""
    directory = target / fixture
    directory.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(FIXTURES / fixture / name, directory)
    begin, end, token = _MARKS.get(fixture, _MARKS[""])
    whole = begin if fixture == GEMMA else begin + token + end
    files = {
        "tokenizer.json": json.dumps(_tokenizer((begin, end, token))),
        "chat_template.jinja": (
            "{% for part in messages[0].content %}"
            "{% if part.type == 'image' %}" + whole + "{% else %}{{ part.text }}{% endif %}"
            "{% endfor %}"
        ),
        "preprocessor_config.json": json.dumps(_processor(fixture)),
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def message_of(fixture: str, prompt: SeenPrompt, **image: Any) -> dict[str, Any]:
    """The user's message that becomes a prompt; `image` is put into each `image_url`."""
    parts: list[dict[str, Any]] = []
    position = 0
    for each in prompt.images:
        # A token begins the image, and one ends it.
        words = prompt.tokens[position : each.start - 1]
        parts += [{"type": "text", "text": text_of(words)}] if words else []
        url = picture_url(fixture, each.patches, each.grid)
        parts.append({"type": "image_url", "image_url": {"url": url, **image}})
        position = each.start + each.tokens + 1
    words = prompt.tokens[position:]
    parts += [{"type": "text", "text": text_of(words)}] if words else []
    return {"role": "user", "content": parts}


def picture_url(fixture: str, patches: np.ndarray, grid: tuple[int, int]) -> str:
    """A picture as requests carry it, without loss."""
    file = io.BytesIO()
    Image.fromarray(picture_of(fixture, patches, grid)).save(file, "PNG")
    return data_url(file.getvalue())


def picture_of(fixture: str, patches: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The picture that is cut into these patches, [height, width, 3]."""
    config = read_vision(FIXTURES / fixture)
    assert config is not None
    merge, frames = (1, 1) if isinstance(config, Gemma3VisionConfig) else (2, config.frames)
    side, (rows, columns) = config.patch_size, grid
    blocks = patches.reshape(rows // merge, columns // merge, merge, merge, 3, frames, side, side)
    one = blocks[:, :, :, :, :, 0].transpose(0, 2, 5, 1, 3, 6, 4)
    return np.ascontiguousarray(one.reshape(rows * side, columns * side, 3))


def _processor(fixture: str) -> dict[str, Any]:
    if fixture == GEMMA:
        return {"size": {"height": 48, "width": 48}}
    return {
        "patch_size": 4,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 64, "longest_edge": 8_192},
    }


def _tokenizer(marks: tuple[str, str, str]) -> dict[str, Any]:
    """A `tokenizer.json` of 320 ids, of which the last three are those of images."""
    controls = dict(zip((317, 318, 319), marks, strict=True))
    spelled = (controls.get(token, chr(_FIRST + token)) for token in range(320))
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": token, "content": content, "special": True} | dict.fromkeys(_PLAIN, False)
            for token, content in controls.items()
        ],
        # What Gemma 3 has written around images.
        "normalizer": {"type": "Replace", "pattern": {"String": "\n"}, "content": ""},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "vocab": {content: token for token, content in enumerate(spelled)},
            "merges": [],
        },
    }


_PLAIN = ("single_word", "lstrip", "rstrip", "normalized")
