"""Prompts with pictures against the ids that the reference's processors make of them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.tokenizer.hugging_face import HuggingFaceTokenizer
from serve.media.picture import Picture
from serve.media.processors.gemma3 import Gemma3Processor, PanAndScan
from serve.media.processors.qwen3_vl import Qwen3VLProcessor
from serve.text.pictures import gemma3_form, qwen3_vl_form, starts
from serve.text.render import Renderer
from serve.text.template import ConversationError
from serve.text.template_files import load_chat_template

DIRECTORY = Path(__file__).parents[2] / "fixtures" / "images" / "prompts"
GEMMA = gemma3_form("<image_soft_token>", "<start_of_image>", "<end_of_image>")
QWEN = qwen3_vl_form("<|image_pad|>")
FAMILIES: dict[str, tuple[Any, Any]] = {
    "gemma3": (GEMMA, Gemma3Processor(14, 16, 56, 56)),
    "gemma3-scanned": (
        GEMMA,
        Gemma3Processor(14, 16, 56, 56, pan_and_scan=PanAndScan(always=True)),
    ),
    "qwen3-vl": (QWEN, Qwen3VLProcessor(min_pixels=4_096, max_pixels=65_536)),
}
CASES = [
    pytest.param(name, entry, id=f"{name}-{number}")
    for name in FAMILIES
    for number, entry in enumerate(json.loads((DIRECTORY / name / "expected.json").read_text()))
]


@cache
def renderer(name: str) -> Renderer:
    tokenizer = HuggingFaceTokenizer(DIRECTORY / name / "tokenizer.json")
    template = load_chat_template(DIRECTORY / name, tokenizer.named)
    return Renderer(tokenizer, template, FAMILIES[name][0])


def views_of(name: str, width: int, height: int) -> tuple[int, ...]:
    picture = Picture(np.zeros((height, width, 3), np.uint8))
    return tuple(each.tokens for each in FAMILIES[name][1](picture, "auto"))


@pytest.mark.parametrize(("name", "entry"), CASES)
def test_ids_are_the_references(name: str, entry: dict[str, Any]) -> None:
    views = [views_of(name, *size) for size in entry["sizes"]]
    made = renderer(name)
    ids = made.render(entry["messages"], pictures=views)
    assert ids == entry["ids"]
    counts = [count for each in views for count in each]
    token = made.tokenizer.controls[FAMILIES[name][0].token]
    begins = made.starts(ids, views)
    places = {start + n for start, count in zip(begins, counts, strict=True) for n in range(count)}
    assert places == {place for place, each in enumerate(ids) if each == token}
    assert begins == sorted(begins)


def test_the_fixtures_have_pictures_of_several_views() -> None:
    assert views_of("gemma3-scanned", 1000, 300) == (16,) * 4
    assert views_of("gemma3", 1000, 300) == (16,)
    numbers = [len(case.values[1]["ids"]) for case in CASES if "scanned" in str(case.id)]
    assert max(numbers) > 100


@pytest.mark.parametrize("name", FAMILIES)
def test_spellings_in_messages_stay_text(name: str) -> None:
    form, made = FAMILIES[name][0], renderer(name)
    said = f"{form.mark}{form.token}"
    content = [{"type": "text", "text": said}, {"type": "image"}, {"type": "text", "text": said}]
    ids = made.render([{"role": "user", "content": content}], pictures=[(16,)])
    assert ids.count(made.tokenizer.controls[form.token]) == 16
    [start] = made.starts(ids, [(16,)])
    assert len(ids) - start - 16 > 5


@pytest.mark.parametrize("pictures", [[(16,)], [(16,)] * 3])
def test_all_pictures_must_be_shown(pictures: Any) -> None:
    content = [{"type": "image"}, {"type": "image"}]
    with pytest.raises(ConversationError, match="shows 2 of"):
        renderer("gemma3").render([{"role": "user", "content": content}], pictures=pictures)


def test_views_side_by_side_are_told_apart() -> None:
    assert starts([7, 9, 9, 9, 9, 9, 5, 9], 9, [(2, 3), (1,)]) == [1, 3, 7]
