"""Files of filters: what they say, and what is wrong with them, by its line."""

from pathlib import Path

import pytest

from serve.filter.content_filter import read_filter
from serve.filter.errors import FilterError
from serve.filter.rules import read_rules

GOOD = """
# What nobody says here.
[insults]
words = ["fool", "old fool"]

[keys]
regexes = ['\\bsk-[A-Za-z0-9]{20,48}\\b']
on = "output"
do = "block"
"""


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "filter.toml"
    path.write_text(GOOD)
    insults, keys = read_rules(path)
    assert (insults.name, insults.words, insults.blocks) == ("insults", ("fool", "old fool"), False)
    assert insults.sides == {"input", "output"}
    assert (keys.regexes, keys.sides, keys.blocks) == (
        (r"\bsk-[A-Za-z0-9]{20,48}\b",),
        {"output"},
        True,
    )
    read_filter(path)


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [
        ("", 1, "has no category"),
        ("words = ['a']", 1, "outside a category"),
        ("[a]\nwords = ['x'\n[b]", 3, "is no TOML"),
        ("[a]\nwords = ['x']\n[a]\nwords = ['y']", 3, "is no TOML"),
        ("[a]\n", 1, "nothing to find"),
        ("[a]\nwords = []", 1, "nothing to find"),
        ("[a]\nwords = 'x'", 2, "no array"),
        ("[a]\nwords = ['x', 3]", 2, "number 2 of the words"),
        ("[a]\nwords = ['x', ' ']", 2, "no text as number 2"),
        ("[a]\nwords = [' x']", 2, "without white space around"),
        (f"[a]\nwords = ['{'x' * 201}']", 2, "up to 200"),
        ("[a]\nwords = ['x']\non = 'in'", 3, "'input', 'output', 'both' are allowed"),
        ("[a]\nwords = ['x']\ndo = true", 3, "'block', 'cut' are allowed"),
        ("[a]\nwords = ['x']\n\nword = ['y']", 4, "words, regexes, on and do are allowed"),
        ("['a b']\nwords = ['x']", 1, "letters, digits"),
        ("[a]\nwords = ['x']\n[a.b]\nwords = ['y']", 1, "has 'b'"),
        ("[ok]\nwords=['x']\n[a]\nregexes = ['b', '(']", 4, "number 2 of the regexes in [a]"),
        ("[a]\nregexes = ['x*']", 2, "matches a text without characters|more than 1000"),
        ("[a]\nregexes = ['x?']", 2, "matches a text without characters"),
        ("[a]\nregexes = ['x+y']", 2, "write a bound"),
        ("[a]\nregexes = ['x{2,1001}']", 2, "more than 1000 characters"),
        ("[a]\nregexes = ['(?:x{1,99}){1,99}']", 2, "more than 1000 characters"),
        ("[a]\nregexes = ['^x']", 2, "leave it out"),
        ("[a]\nregexes = ['x$']", 2, "leave it out"),
        ("[a]\nregexes = ['(?i)x']", 2, "flags are not supported"),
        ("[a]\nregexes = ['(?=x)y']", 2, "look-around is not supported"),
        ("[a]\nregexes = ['(x)\\1']", 2, "backreferences"),
        ("[a]\nregexes = ['x\\by']", 2, "borders of words are not supported"),
        ("[a]\nregexes = ['\\bx|y\\b']", 2, "of one alternative only"),
        ("[a]\nregexes = ['\\p{Emoji}x']", 2, "Emoji"),
        (f"[a]\nregexes = ['{'(?:' * 40}x{'){1,2}' * 40}']", 2, "more than 1000 characters"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, wrong: str
) -> None:
    path = tmp_path / "filter.toml"
    path.write_text(text)
    with pytest.raises(FilterError, match=wrong.replace("[a]", r"\[a\]")) as raised:
        read_filter(path)
    told = str(raised.value)
    assert str(path) in told
    assert f"line {line}" in told
    assert "\n" not in told


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FilterError, match="cannot be read"):
        read_filter(tmp_path / "nothing.toml")
