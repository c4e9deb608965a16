import re

from hypothesis import given
from hypothesis import strategies as st

from serve.text.spellings import spelling_pattern

LETTERS = st.text("<|ab>", min_size=1, max_size=5)


@given(st.lists(LETTERS, unique=True, max_size=8), st.text("<|ab>", max_size=30))
def test_the_longest_spelling_is_found_at_each_place(spellings: list[str], text: str) -> None:
    longest_first = sorted(spellings, key=len, reverse=True)
    plain = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    assert spelling_pattern(spellings).findall(text) == plain.findall(text)


def test_what_the_pattern_is() -> None:
    assert spelling_pattern(["<a>", "<b>", "<a><c>"]).pattern == "<(?:a>(?:<c>)?|b>)"
    assert spelling_pattern([]).search("anything") is None
