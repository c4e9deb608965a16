"""The examples of docs/tool-formats.md are what the parsers read."""

import re
from pathlib import Path

import pytest
from support.call_answers import Answer, Call, parse
from support.call_transcripts import HARMONY, PHI, TOOLS, Transcript

from serve.text.calls.detect import FORMATS

DOCS = Path(__file__).parents[4] / "docs" / "tool-formats.md"
CONTROLS = {
    "llama3": ("<|python_tag|>",),
    "mistral": ("[TOOL_CALLS]",),
    "mistral-ids": ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    "mistral-args": ("[TOOL_CALLS]", "[ARGS]"),
    "phi4-mini": PHI,
    "gpt-oss": HARMONY,
}
SECTION = re.compile(r"^### (\S+)\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(DOCS.read_text()))


def test_every_format_has_its_examples() -> None:
    assert set(SECTIONS) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_examples_are_read(name: str) -> None:
    examples = re.findall(r"^~~~text\n(.*?)\n~~~$", SECTIONS[name], re.MULTILINE | re.DOTALL)
    calls = [Call("get_weather", "function", '{"city": "Paris"}', True)]
    if name not in ("llama3", "gpt-oss"):
        calls.append(Call("get_weather", "function", '{"city": "Rome"}', True))
    custom = Call("sql", "custom", "select * from t", True)
    controls = CONTROLS.get(name, ())
    expected = [Answer("I'll look it up.", calls), Answer("", [custom])]
    got = [
        parse(
            FORMATS[name].parser(TOOLS, controls),
            Transcript("", name, example, controls, Answer()).fed,
        )
        for example in examples
    ]
    assert got == expected
