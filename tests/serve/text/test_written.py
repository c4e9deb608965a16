"""Marks follow their characters. A template's are capitals here, and everybody else's small."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from serve.text.written import Written, WrittenMarkup, concat, marks_of, own

# With what is special to some operation: white space, line ends, places to fill.
LETTERS = "AB \nab \n"


def marked(text: str) -> Written:
    """`text`, whose capitals are the template's."""
    return Written(text, bytes(character.isupper() for character in text))


def strings() -> st.SearchStrategy[str]:
    return st.text(LETTERS, max_size=12)


def texts() -> st.SearchStrategy[Written]:
    return strings().map(marked)


def either() -> st.SearchStrategy[str]:
    return strings() | texts()


def check(result: object, plain: object) -> None:
    """The result is what plain text gives, and no small letter of it is the template's."""
    assert result == plain
    if isinstance(result, str):
        marks = marks_of(result)
        assert len(marks) == len(result)
        for character, mark in zip(str.__str__(result), marks, strict=True):
            assert mark == 0 or not character.islower()
            assert mark == 1 or not character.isupper(), "a mark is lost"
    elif isinstance(result, list | tuple):
        assert isinstance(plain, list | tuple)
        for member, other in zip(result, plain, strict=True):
            check(member, other)


SEPARATORS = ("A", "a", "B ", " ", "\n", "Ab", "aa")
CUTS: dict[str, Callable[[str, str, int], Any]] = {
    "index": lambda text, _, n: text[n] if -len(text) <= n < len(text) else "",
    "slice": lambda text, _, n: (text[n:], text[:n], text[n : n + 3], text[::-1], text[:: n or 2]),
    "iteration": lambda text, *_: list(text),
    "strip": lambda text, *_: (text.strip(), text.lstrip(), text.rstrip()),
    "strip chars": lambda text, s, _: (text.strip(s), text.lstrip(s), text.rstrip(s)),
    "split": lambda text, _, n: (text.split(), text.split(None, n), text.split(maxsplit=1)),
    "split at": lambda text, s, n: (text.split(s), text.split(s, n), text.split(sep=s, maxsplit=1)),
    "rsplit": lambda text, _, n: (text.rsplit(), text.rsplit(None, n)),
    "rsplit at": lambda text, s, n: (text.rsplit(s), text.rsplit(s, n), text.rsplit(sep=s)),
    "splitlines": lambda text, *_: (text.splitlines(), text.splitlines(True)),
    "partition": lambda text, s, _: (text.partition(s), text.rpartition(s)),
    "remove": lambda text, s, _: (text.removeprefix(s), text.removesuffix(s)),
    "find": lambda text, s, _: (text.find(s), text.rfind(s), text.count(s), s in text, len(text)),
    "compare": lambda text, s, _: (text == s, text < s, text.startswith((s,)), text.endswith(s)),
    "times": lambda text, _, n: (text * n, n * text),
    "string": lambda text, *_: str(text),
}


@pytest.mark.parametrize("name", CUTS)
@given(text=texts(), separator=st.sampled_from(SEPARATORS), number=st.integers(-4, 4))
def test_cut(name: str, text: Written, separator: str, number: int) -> None:
    operation = CUTS[name]
    check(operation(text, separator, number), operation(text.plain(), separator, number))


@given(texts(), either(), either(), st.sampled_from(SEPARATORS), st.integers(-1, 3))
def test_put_together(text: Written, one: str, two: str, old: str, count: int) -> None:
    plain = text.plain()
    first, second = str.__str__(one), str.__str__(two)
    # Plain strings are nobody's, capitals and all.
    one, two = (each if isinstance(each, Written) else each.lower() for each in (one, two))
    first, second = first if isinstance(one, Written) else first.lower(), str.__str__(two)
    check(text + one, plain + first)
    check(one + text, first + plain)
    check(text.join([one, two, text]), plain.join([first, second, plain]))
    check(concat([one, text, two]), first + plain + second)
    check(text.replace(old, one, count), plain.replace(old, first, count))


@pytest.mark.parametrize(
    "filled",
    [
        lambda text, value: text % (value, value),
        lambda text, value: text % (value, 5),
    ],
)
@given(texts().filter(lambda text: "%" not in text), either())
def test_percent(filled: Any, text: Written, value: str) -> None:
    value = value if isinstance(value, Written) else value.lower()
    pattern = text + own(" %s ") + text + own("X%sX")
    check(filled(pattern, value), filled(pattern.plain(), str.__str__(value)))


@pytest.mark.parametrize(
    ("pattern", "values", "shown"),
    [
        ("<A%5s|%-4d%%>", ("b", 3), "<A    b|3   %>"),
        ("<A%(x)s>", {"x": "b"}, "<Ab>"),
        ("<A%*d>", (4, 7), "<A   7>"),
        ("<A%r>", ("b",), "<A'b'>"),
        ("<A%.2f>", (0.125,), "<A0.12>"),
        ("<A%s>", "b", "<Ab>"),
        ("<A>", (), "<A>"),
    ],
)
def test_percent_marks_its_own_words(pattern: str, values: Any, shown: str) -> None:
    filled = own(pattern) % values
    assert filled == shown
    assert marks_of(filled)[:2] == b"\1\1"
    assert marks_of(filled)[-1] == 1
    for place in "b37":
        assert marks_of(filled)[shown.find(place)] == 0 or place not in shown


def test_what_is_filled_in_is_nobodys() -> None:
    for pattern, values in (
        ("%s", "<A>"),
        ("%(x)s%%", {"x": "<A>"}),
        ("%c", 65),
        ("%(a(b))s", {"a(b)": "<A>"}),
    ):
        assert not any(marks_of(own(pattern) % values)), pattern
    # The character that stands in for a template's own is nobody's in a message.
    assert marks_of(own("A%s") % "\ue000") == b"\1\0"
    assert marks_of(Written("%s") % own("A")) == b"\1"


def test_operations_of_other_kinds_lose_the_marks() -> None:
    text = own("<A b>")
    for result in (
        text.center(9),
        text.ljust(9),
        text.zfill(9),
        text.expandtabs(),
        text.translate({}),
        text.replace("", "x"),
        f"{text}b",
        "".join(text),
        Markup(text) + text,
        text + Markup("x"),
    ):
        assert not any(marks_of(result))
    assert not any(Written(text).marks)


def test_case() -> None:
    text = Written("Ab é", b"\1\0\1\1")
    for changed, shown in (
        (text.upper(), "AB É"),
        (text.lower(), "ab é"),
        (text.capitalize(), "Ab é"),
        (text.title(), "Ab É"),
        (text.swapcase(), "aB É"),
        (text.casefold(), "ab é"),
    ):
        assert (changed, marks_of(changed)) == (shown, text.marks)
    longer = own("straße").upper()
    assert longer == "STRASSE"
    assert not any(marks_of(longer))


def test_markup_keeps_marks_until_it_is_worked_on() -> None:
    text = Written("<A>b", b"\1\1\1\0")
    markup = WrittenMarkup(text)
    assert marks_of(markup) == marks_of(str(markup)) == text.marks
    assert markup == "<A>b"
    joined = markup + "<"
    assert joined == "<A>b&lt;"
    assert not any(marks_of(joined))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda text: text + 1,
        lambda text: 1 + text,
        lambda text: text * "x",
        lambda text: text.join([1]),
        lambda text: text.split(""),
        lambda text: text[9],
        lambda text: text["x"],
        lambda text: text % (1, 2),
    ],
)
def test_mistakes_are_pythons_own(wrong: Callable[[Any], Any]) -> None:
    with pytest.raises(Exception) as plain:  # noqa: PT011
        wrong("text")
    with pytest.raises(plain.type):
        wrong(own("text"))
