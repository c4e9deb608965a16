import json
from pathlib import Path
from typing import Any

import pytest

from serve.text.template import TemplateError
from serve.text.template_files import load_chat_template


def put(directory: Path, name: str, content: Any) -> None:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def shown(directory: Path, chosen: str = "") -> str:
    return load_chat_template(directory, {"bos_token": "<s>"}, chosen).render([])


def test_later_places_win(tmp_path: Path) -> None:
    put(tmp_path, "chat_template.json", {"chat_template": "processor {{ bos_token }}"})
    assert shown(tmp_path) == "processor <s>"
    put(tmp_path, "tokenizer_config.json", {"chat_template": "config"})
    assert shown(tmp_path) == "config"
    put(tmp_path, "chat_template.jinja", "file")
    assert shown(tmp_path) == "file"
    put(tmp_path, "chosen.jinja", "chosen {{ bos_token }}")
    assert shown(tmp_path, str(tmp_path / "chosen.jinja")) == "chosen <s>"


@pytest.mark.parametrize(
    "templates",
    [
        [{"name": "default", "template": "one"}, {"name": "tool_use", "template": "two"}],
        {"default": "one", "tool_use": "two"},
    ],
)
def test_named_templates(tmp_path: Path, templates: Any) -> None:
    put(tmp_path, "tokenizer_config.json", {"chat_template": templates})
    assert (shown(tmp_path), shown(tmp_path, "tool_use")) == ("one", "two")
    put(tmp_path, "additional_chat_templates/rag.jinja", "three")
    put(tmp_path, "additional_chat_templates/tool_use.jinja", "four")
    assert (shown(tmp_path, "rag"), shown(tmp_path, "tool_use")) == ("three", "four")


def test_no_template(tmp_path: Path) -> None:
    put(tmp_path, "tokenizer_config.json", {"eos_token": "</s>", "chat_template": None})
    with pytest.raises(TemplateError, match=r"has no chat template.*with --chat-template"):
        shown(tmp_path)
    with pytest.raises(TemplateError, match=r"is nowhere\.jinja, which is no file .* has none"):
        shown(tmp_path, "nowhere.jinja")


def test_none_of_several_is_the_default(tmp_path: Path) -> None:
    put(tmp_path, "tokenizer_config.json", {"chat_template": [{"name": "b", "template": "x"}]})
    put(tmp_path, "additional_chat_templates/a.jinja", "y")
    with pytest.raises(TemplateError, match="templates a, b, none of them named default; choose"):
        shown(tmp_path)
    with pytest.raises(TemplateError, match=r"is c, which is no file .*: a, b"):
        shown(tmp_path, "c")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", {"chat_template": 3}, {"chat_template": ["x"]}, {"chat_template": [{"name": "a"}]},
     {"chat_template": {"default": None}}],
)  # fmt: skip
def test_a_file_that_makes_no_sense(tmp_path: Path, content: Any) -> None:
    put(tmp_path, "tokenizer_config.json", content)
    with pytest.raises(TemplateError, match=r"tokenizer_config\.json must be JSON whose") as error:
        shown(tmp_path)
    assert "\n" not in str(error.value)


def test_errors_name_the_place(tmp_path: Path) -> None:
    put(tmp_path, "chat_template.jinja", "\n{% if %}")
    with pytest.raises(TemplateError, match=r"line 2 of .*chat_template\.jinja is wrong"):
        shown(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(TemplateError, match=r"chat_template\.jinja cannot be read"):
        shown(tmp_path)
