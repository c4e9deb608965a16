import re

from hypothesis import given
from hypothesis import strategies as st

from serve.text.guard import Guard, spelling_pattern

LETTERS = st.text("<|ab>", min_size=1, max_size=5)


@given(st.lists(LETTERS, unique=True, max_size=8), st.text("<|ab>", max_size=30))
def test_the_longest_spelling_is_found_at_each_place(spellings: list[str], text: str) -> None:
    longest_first = sorted(spellings, key=len, reverse=True)
    plain = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    assert spelling_pattern(spellings).findall(text) == plain.findall(text)


def test_what_the_pattern_is() -> None:
    assert spelling_pattern(["<a>", "<b>", "<a><c>"]).pattern == "<(?:a>(?:<c>)?|b>)"
    assert spelling_pattern([]).search("anything") is None


@given(st.lists(LETTERS.filter(lambda s: len(s) > 1), unique=True, max_size=5), LETTERS, LETTERS)
def test_no_neighbour_completes_a_spelling(spellings: list[str], left: str, right: str) -> None:
    """Whatever stands beside a guarded text, a spelling that is found is the neighbour's own."""
    for text in (left + right, right):
        guarded = Guard(spellings).guarded(text, "·")
        assert guarded.replace("·", "") == text
        pattern = spelling_pattern(spellings)
        for match in pattern.finditer(left + guarded + right):
            inside = range(len(left), len(left) + len(guarded))
            assert match.start() not in inside
            assert match.end() - 1 not in inside


def test_keys_that_templates_compare_are_left_alone() -> None:
    [message], _, marker = Guard(["us", "te"]).conversation(
        [{"role": "user", "content": [{"type": "text", "text": "us"}], "n": 3, "x": None}]
    )
    assert message["role"] == "user"
    [part] = message["content"]
    assert (part["type"], "".join(part["text"])) == ("text", f"u{marker}s")
    assert (message["n"], message["x"]) == (3, None)


def test_only_words_of_the_api_are_left_alone() -> None:
    tool = {"type": "function", "function": {"parameters": {"type": "<x>", "<x>": 1}}}
    _, [told], marker = Guard(["<x>", "function"]).conversation([], [tool])
    assert told["type"] == "function"
    parameters = told["function"]["parameters"]
    broken = f"<{marker}x>"
    assert ["".join(key) for key in parameters] == ["type", broken]
    assert "".join(parameters["type"]) == broken


def test_guarded_text_equals_the_plain_text_and_is_found_by_it() -> None:
    _, [told], marker = Guard(["<name>"]).conversation([], [{"name": "name"}])
    [key] = told
    assert "".join(key) == f"{marker}name"
    assert told["name"] == "name"
    assert told["name"].upper() != "name"
    assert told["name"] == key
