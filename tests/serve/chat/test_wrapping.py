import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.chat.wrapping import Wrapper


def wrapped(text: str, width: int) -> str:
    wrapper = Wrapper(lambda: width)
    return wrapper.feed(text) + wrapper.flush()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two three four", "one two\nthree four"),
        ("exactly 10 columns", "exactly 10\ncolumns"),
        ("a  b", "a  b"),
        ("blanks    before it", "blanks\nbefore it"),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("  an indented line", "  an\nindented\nline"),
        ("\ta tab", "\ta\ntab"),
        ("a\tbc\td", "a\tbc\nd"),
        ("see https://one.example now", "see\nhttps://one.example\nnow"),
        ("", ""),
    ],
)
def test_lines_of_ten_columns(text: str, shown: str) -> None:
    assert wrapped(text, 10) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("日本語日本語", "日本語日本\n語"),
        ("日本語日本。", "日本語日\n本。"),
        ("日本語日（語）", "日本語日\n（語）"),
        ("日本語日ーー", "日本語\n日ーー"),
        ("ab 日本語 cd", "ab 日本語\ncd"),
        ("word日本word", "word日本\nword"),
        ("👩‍👩‍👧 👩‍👩‍👧 👩‍👩‍👧 👩‍👩‍👧", "👩‍👩‍👧 👩‍👩‍👧 👩‍👩‍👧\n👩‍👩‍👧"),
        ("e\u0301" * 4 + " " + "e\u0301" * 5, "e\u0301" * 4 + " " + "e\u0301" * 5),
        ("e\u0301" * 5 + " " + "e\u0301" * 5, "e\u0301" * 5 + "\n" + "e\u0301" * 5),
    ],
)
def test_wide_and_combined_characters_in_ten_columns(text: str, shown: str) -> None:
    assert wrapped(text, 10) == shown


@pytest.mark.parametrize(
    "code",
    [
        "```python\nprint('a long line of code')\n```\n",
        "~~~\na long line of code with ``` in it\n~~~\n",
        "````\n```\na long line of code\n```\n````\n",
        "```\n``` no end\na long line of code\n```\n",
        "- item\n  ```\n  a long line of code\n  ```\n",
    ],
)
def test_code_stays_as_it_is(code: str) -> None:
    assert wrapped(code + "and words after it", 10) == code + "and words\nafter it"


def test_backticks_amid_a_line_begin_no_code() -> None:
    assert wrapped("```a```\nand more words\n", 10) == "```a```\nand more\nwords\n"
    assert wrapped("with ``` amid words", 10) == "with ```\namid words"


def test_a_text_after_one_that_ended_in_code() -> None:
    wrapper = Wrapper(lambda: 10)
    assert wrapper.feed("```\nnever closed") == "```\nnever closed"
    assert wrapper.flush() == ""
    assert wrapper.feed("one two three ") + wrapper.flush() == "one two\nthree"


def test_no_more_than_the_last_word_is_held_back() -> None:
    wrapper = Wrapper(lambda: 10)
    assert wrapper.feed("one tw") == "one"
    assert wrapper.feed("o") == ""
    assert wrapper.feed(" ") == " two"
    assert wrapper.feed("日本") == " 日"
    assert wrapper.feed("\n") == "\n本\n"
    assert wrapper.feed("```\nco") == "```\nco"
    assert wrapper.feed("de") == "de"


def test_of_a_word_wider_than_a_line_one_character_is_held_back() -> None:
    wrapper = Wrapper(lambda: 10)
    assert wrapper.feed("at 0123456789") == "at"
    assert wrapper.feed("0") == "\n0123456789"
    assert wrapper.feed("1") == "0"
    assert wrapper.feed(" 2345678 90") == "1 2345678"
    assert wrapper.flush() == "\n90"


def test_a_line_is_as_wide_as_the_terminal_is_now() -> None:
    width = 10
    wrapper = Wrapper(lambda: width)
    assert wrapper.feed("one two three ") == "one two\nthree"
    width = 20
    assert wrapper.feed("four five six ") == " four five six"
    width = 5
    assert wrapper.feed("seven ") == "\nseven"


WORDS = st.text(st.sampled_from("abcde"), min_size=1, max_size=12)


@given(st.lists(WORDS, min_size=1), st.integers(1, 30))
def test_words_are_where_the_standard_library_puts_them(words: list[str], width: int) -> None:
    """All lines that it makes, but for words wider than a line, which a terminal breaks too."""
    text = " ".join(words)
    expected = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    if all(len(word) <= width for word in words):
        assert wrapped(text, width).split("\n") == expected
    assert wrapped(text, width).split() == words


TEXTS = st.text(st.sampled_from("ab \t\n`~-.,（）、日本語ー\u0301👩👧\u200d🇩🇪ช่"), max_size=60)


@given(TEXTS, st.integers(1, 12), st.data())
def test_pieces_make_no_difference(text: str, width: int, data: st.DataObject) -> None:
    whole = wrapped(text, width)
    wrapper = Wrapper(lambda: width)
    shown = ""
    while text:
        length = data.draw(st.integers(1, len(text)))
        shown += wrapper.feed(text[:length])
        text = text[length:]
    assert shown + wrapper.flush() == whole


@given(TEXTS, st.integers(1, 12))
def test_nothing_is_lost_but_blanks(text: str, width: int) -> None:
    assert "".join(wrapped(text, width).split()) == "".join(text.split())
