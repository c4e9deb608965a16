"""How checkpoints see, as their files say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.vision.config import Gemma3VisionConfig, Qwen3VLVisionConfig
from serve.media.processors.gemma3 import Gemma3Processor
from serve.media.processors.qwen3_vl import Qwen3VLProcessor
from serve.sight import SightError, sight_of
from serve.text.pictures import gemma3_form, qwen3_vl_form

NAMES = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
SHAPE: Any = {
    "embed_dim": 32,
    "ffn_dim": 48,
    "num_heads": 2,
    "num_layers": 2,
    "out_dim": 64,
    "image_token": 257,
    "begin_token": 256,
    "end_token": 258,
}
GEMMA = Gemma3VisionConfig(**SHAPE, patch_size=14, patch_side=4, token_side=2)
QWEN = Qwen3VLVisionConfig(**SHAPE, patch_size=16)
GEMMA_SETTINGS = {"size": {"height": 56, "width": 56}}
QWEN_SETTINGS = {"patch_size": 16, "merge_size": 2, "temporal_patch_size": 2}


@pytest.fixture
def tokenizer(make_tokenizer: Any) -> Any:
    return make_tokenizer(controls=NAMES)


def checkpoint(directory: Path, settings: Any) -> Path:
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))
    return directory


def test_gemma(tmp_path: Path, tokenizer: Any) -> None:
    sight = sight_of(GEMMA, checkpoint(tmp_path, GEMMA_SETTINGS), tokenizer)
    assert sight is not None
    assert sight.form == gemma3_form("<|image_pad|>", "<|vision_start|>", "<|vision_end|>")
    assert sight.process == Gemma3Processor(patch=14, tokens=4, height=56, width=56)


def test_qwen(tmp_path: Path, tokenizer: Any) -> None:
    sight = sight_of(QWEN, checkpoint(tmp_path, QWEN_SETTINGS), tokenizer)
    assert sight is not None
    assert sight.form == qwen3_vl_form("<|image_pad|>")
    assert sight.process == Qwen3VLProcessor()


def test_a_model_that_does_not_see_has_none(tmp_path: Path, tokenizer: Any) -> None:
    assert sight_of(None, tmp_path, tokenizer) is None


def test_without_the_extra_no_model_sees(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.media.extra.find_spec", lambda name: None)
    assert sight_of(QWEN, checkpoint(tmp_path, QWEN_SETTINGS), tokenizer) is None


WRONG = [
    (GEMMA, {"size": {"height": 70, "width": 70}}, "image sides"),
    (QWEN, {**QWEN_SETTINGS, "patch_size": 14}, "sides of patches"),
    (QWEN, {**QWEN_SETTINGS, "merge_size": 1}, "sides of patches"),
    (QWEN, {**QWEN_SETTINGS, "do_resize": False}, "do_resize is false"),
    (replace(QWEN, image_token=65), QWEN_SETTINGS, "token 65, which is no control"),
    (replace(GEMMA, end_token=9_999), GEMMA_SETTINGS, "token 9999, which is no control"),
]


@pytest.mark.parametrize(("vision", "settings", "reason"), WRONG)
def test_what_does_not_fit_together_is_named(
    tmp_path: Path, tokenizer: Any, vision: Any, settings: Any, reason: str
) -> None:
    with pytest.raises(SightError, match=reason):
        sight_of(vision, checkpoint(tmp_path, settings), tokenizer)


def test_a_checkpoint_without_settings_is_named(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(SightError, match=r"no preprocessor_config\.json"):
        sight_of(QWEN, tmp_path, tokenizer)
