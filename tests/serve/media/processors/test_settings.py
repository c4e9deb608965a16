"""A checkpoint's settings of pictures are read, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from serve.media.processors.settings import ProcessorError, read_settings


def test_either_file_has_them(tmp_path: Path) -> None:
    with pytest.raises(ProcessorError, match=r"no preprocessor_config\.json"):
        read_settings(tmp_path)
    nested = {"image_processor": {"patch_size": 16}, "image_seq_length": 256}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    assert read_settings(tmp_path) == {"patch_size": 16}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"patch_size": 14}))
    assert read_settings(tmp_path) == {"patch_size": 14}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"do_resize": False}, "do_resize is false"),
        ({"do_rescale": False}, "do_rescale is false"),
        ({"do_normalize": False}, "do_normalize is false"),
        ({"do_center_crop": True}, "do_center_crop is true"),
        ([], "no JSON object"),
    ],
)
def test_other_steps_are_refused(tmp_path: Path, settings: Any, reason: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ProcessorError, match=reason):
        read_settings(tmp_path)


def test_a_broken_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ProcessorError, match="cannot be read"):
        read_settings(tmp_path)
