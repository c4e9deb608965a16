import json
from pathlib import Path
from typing import Any

import pytest

from serve.api.settings import API_DEFAULTS
from serve.config import ConfigError, ServeConfig
from serve.model_defaults import sampling_defaults


def settings(directory: Path, which: Any, **written: Any) -> ServeConfig:
    (directory / "generation_config.json").write_text(json.dumps(written))
    return ServeConfig(model=directory, sampling_defaults=which)


def test_those_of_the_api_hold_and_the_others_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="serve"):
        found = sampling_defaults(settings(tmp_path, "api", temperature=0.6, top_k=20, top_p=None))
    assert found == API_DEFAULTS
    [record] = caplog.records
    assert "recommends temperature=0.6, top_k=20: not applied" in record.getMessage()


def test_those_of_the_checkpoint_hold_as_far_as_it_has_them(tmp_path: Path) -> None:
    made = settings(tmp_path, "model", temperature=0.6, top_k=20, max_new_tokens=5)
    assert sampling_defaults(made) == {**API_DEFAULTS, "temperature": 0.6, "top_k": 20}


def test_a_checkpoint_without_the_file(tmp_path: Path) -> None:
    made = ServeConfig(model=tmp_path, sampling_defaults="model")
    assert sampling_defaults(made) == API_DEFAULTS


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ({"temperature": 3}, "has temperature: 3; it must be 0 to 2"),
        ({"temperature": True}, "has temperature: True; it must be a number"),
        ({"top_p": "0.9"}, "has top_p: '0.9'; it must be a number"),
        ({"top_k": 2.5}, "has top_k: 2.5; it must be a whole number"),
        ({"top_k": -2}, "has top_k: -2; it must be at least 0"),
        ({"repetition_penalty": 0}, "has repetition_penalty: 0; it must be 0.01 to 2"),
    ],
)
def test_what_no_request_may_ask_for(tmp_path: Path, written: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match="start with --sampling-defaults api") as caught:
        sampling_defaults(settings(tmp_path, "model", **written))
    assert fault in str(caught.value)
    # Nobody asked for them.
    assert sampling_defaults(settings(tmp_path, "api", **written)) == API_DEFAULTS


def test_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(ConfigError, match="is not valid JSON"):
        sampling_defaults(ServeConfig(model=tmp_path))
