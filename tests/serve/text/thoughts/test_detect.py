from pathlib import Path
from typing import Any

import pytest

from serve.model_names import bundled_model
from serve.text.calls.detect import FORMATS as CALLS
from serve.text.template import TemplateError
from serve.text.thoughts.detect import FORMATS, THINK, choose, detect
from serve.text.thoughts.format import Beginning
from serve.text.thoughts.reading import check_together

TEXT = Path(__file__).parents[3] / "fixtures" / "text"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (TEXT / "qwen3", "think"),
        (TEXT / "gpt_oss", "gpt-oss"),
        (TEXT / "gemma3", None),
        (bundled_model(), "think"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_template_tells_the_format(template: Path, name: str | None) -> None:
    found = detect((template / "chat_template.jinja").read_text())
    assert (found and found.name) == name


def test_templates_that_are_no_fixtures() -> None:
    assert detect("{{ '[SYSTEM_PROMPT]…[THINK]' }}") is FORMATS["mistral"]
    # DeepSeek-R1 cuts the thoughts of earlier turns off.
    assert detect("{% set content = content.split('</think>')[-1] %}") is THINK
    assert detect("{% for m in messages %}{{ m.content }}{% endfor %}") is None


def test_a_format_can_be_chosen() -> None:
    assert choose("none", "</think>") is None
    assert choose("mistral", "</think>") is FORMATS["mistral"]
    assert choose("auto", "</think>") is THINK
    with pytest.raises(ValueError, match="no reasoning format 'x'; choose one of auto, none, thi"):
        choose("x", "")


CONTROLS = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")


@pytest.mark.parametrize(
    ("prompt", "beginning"),
    [
        ("<|im_start|>assistant\n", "undecided"),
        ("<|im_start|>assistant\n<think>\n", "thinking"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "answering"),
        ("<|im_start|>assistant\n<think>\nHm", "undecided"),
        ("", "undecided"),
    ],
)
@pytest.mark.parametrize("controls", [CONTROLS, CONTROLS[:2]], ids=["tokens", "characters"])
def test_the_end_of_a_prompt_tells_where_answers_begin(
    make_tokenizer: Any, controls: tuple[str, ...], prompt: str, beginning: Beginning
) -> None:
    tokenizer = make_tokenizer((), controls)
    ids: list[int] = []
    while prompt:
        marker = next((each for each in controls if prompt.startswith(each)), "")
        ids += [tokenizer.controls[marker]] if marker else list(prompt[0].encode())
        prompt = prompt[len(marker or prompt[0]) :]
    assert THINK.beginning(ids, tokenizer) == beginning


def test_a_marker_in_characters_is_none_where_there_is_a_token(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer((), CONTROLS)
    assert THINK.beginning(list(b"<think>\n"), tokenizer) == "undecided"


def test_channels_hold_thoughts_and_calls_alike() -> None:
    check_together(FORMATS["gpt-oss"], CALLS["gpt-oss"])
    check_together(THINK, CALLS["hermes"])
    check_together(None, CALLS["gpt-oss"])
    for thoughts, calls in (("gpt-oss", "hermes"), ("think", "gpt-oss")):
        with pytest.raises(TemplateError, match=f"'{thoughts}' does not go with the tool format"):
            check_together(FORMATS[thoughts], CALLS[calls])
