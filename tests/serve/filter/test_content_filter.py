"""What a filter finds, held against a search by hand of every part of a text."""

import pickle
import random
import re
from collections.abc import Sequence

import pytest

from serve.filter.content_filter import ContentFilter
from serve.filter.rules import Category
from serve.text.verdict import Verdict

# Few letters, so that words and matches begin in each other.
LETTERS = "aabbcK é_-7"


def pieces(text: str, random_: random.Random) -> list[str]:
    borders = sorted(random_.sample(range(1, len(text)), random_.randrange(len(text))))
    return [text[i:j] for i, j in zip([0, *borders], [*borders, len(text)], strict=True)]


def told(content_filter: ContentFilter, parts: Sequence[str]) -> tuple[str, Verdict | None]:
    judge = content_filter.judge()
    assert judge is not None
    text = "".join(map(judge.feed, parts)) + judge.flush()
    assert judge.verdict is None or judge.feed("more") == ""
    return text, judge.verdict


def is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def bordered(text: str, start: int, end: int) -> bool:
    return not (start and is_word(text[start - 1]) and is_word(text[start])) and not (
        end < len(text) and is_word(text[end - 1]) and is_word(text[end])
    )


def by_hand(text: str, words: Sequence[str], regexes: Sequence[str]) -> int | None:
    """Where the first match of all begins: every part of the text is looked at."""
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            part = text[start:end]
            if any(part.lower() == word.lower() for word in words) and bordered(text, start, end):
                return start
            for regex in regexes:
                inner = regex.removeprefix(r"\b").removesuffix(r"\b")
                if re.fullmatch(inner, part, re.IGNORECASE) and (
                    inner == regex or bordered(text, start, end)
                ):
                    return start
    return None


def some_regex(random_: random.Random, depth: int = 2) -> str:
    letter = re.escape(random_.choice(LETTERS))
    if not depth:
        return letter
    one, other = some_regex(random_, depth - 1), some_regex(random_, depth - 1)
    return random_.choice(
        [
            *(f"{one}{other}", f"(?:{one}|{other})", f"(?:{one}){{1,3}}{other}"),
            *(f"{one}?{letter}", f"[{letter}{random_.choice('xyz')}]{one}", f"{one}[^{letter}]"),
        ]
    )


@pytest.mark.parametrize("seed", range(10))
def test_nothing_of_a_match_passes_wherever_a_text_is_cut(seed: int) -> None:
    random_ = random.Random(seed)
    matches = 0
    for _ in range(100):
        words = ["".join(random_.choices(LETTERS, k=random_.randint(2, 5))) for _ in range(3)]
        words = [word.strip() for word in words if word.strip()] or ["ab"]
        # A border is judged by the letter beside it, so one stands there.
        regexes = [some_regex(random_), rf"\ba{some_regex(random_)}b\b"]
        text = "".join(random_.choices(LETTERS, k=random_.randint(10, 40)))
        start = by_hand(text, words, regexes)
        content_filter = ContentFilter([Category("c", tuple(words), tuple(regexes))])
        expected = (text if start is None else text[:start]), start is not None
        for parts in (pieces(text, random_), list(text), [text]):
            passed, verdict = told(content_filter, parts)
            assert (passed, verdict is not None) == expected, (text, words, regexes, parts)
        assert (content_filter.found_in(text) is not None) == (start is not None)
        matches += start is not None
    assert 20 < matches < 100


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("a bad one", "a "),
        ("BAD", ""),
        ("not badly, not a badge", "not badly, not a badge"),
        ("two\tWORDS", ""),
        ("two  words", "two  words"),
        ("tschüß STRASSE straße", "tschüß STRASSE "),
        ("café cafe\u0301 cafe", "café cafe\u0301 "),
        ("这是坏话吗", "这是"),
        ("c++!", ""),
        ("call 555-1234 now", "call "),
        ("call 555-12345 now", "call 555-12345 now"),
    ],
)
def test_what_a_word_is(text: str, passed: str) -> None:
    words = ("bad", "two words", "straße", "cafe", "坏话", "c++")
    content_filter = ContentFilter([Category("c", words, (r"\b\d{3}-\d{4}\b",))])
    for parts in ([text], list(text)):
        assert told(content_filter, parts)[0] == passed


def test_no_more_is_held_back_than_may_become_a_match() -> None:
    judge = ContentFilter([Category("c", ("bad thing",), ("x[0-9]{1,100}y",))]).judge()
    assert judge is not None
    shown = [judge.feed(part) for part in ["some ", "b", "ad", " t", "ea; ", "x1", "23", "4z"]]
    assert shown == ["some ", "", "", "", "bad tea; ", "", "", "x1234z"]
    assert not judge.holds
    # Within a word nothing begins.
    assert [judge.feed(part) for part in ["b", "ad "]] == ["b", "ad "]


def test_the_match_that_begins_first_ends_the_text() -> None:
    inner, outer = Category("inner", ("b",)), Category("outer", ("a b c d",), blocks=True)
    content_filter = ContentFilter([inner, outer])
    assert told(content_filter, list("x a b c d")) == ("x ", Verdict("outer", True))
    assert told(content_filter, list("x a b c e")) == ("x a ", Verdict("inner", False))


def test_sides_are_told_apart() -> None:
    asked = Category("asked", ("one",), sides=frozenset({"input"}))
    said = Category("said", ("two",), sides=frozenset({"output"}))
    content_filter = pickle.loads(pickle.dumps(ContentFilter([asked, said])))
    assert content_filter.found_in("two") is None
    assert content_filter.found_in("two one").name == "asked"
    assert told(content_filter, ["one ", "two"]) == ("one ", Verdict("said", False))
    assert ContentFilter([asked]).judge() is None
