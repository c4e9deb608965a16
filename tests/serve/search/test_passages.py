"""Texts are parted where they pause."""

from hypothesis import given
from hypothesis import strategies as st

from serve.search.passages import passages


def parts(text: str) -> list[str]:
    return list(passages(text))


def test_a_short_text_is_one_passage() -> None:
    assert parts("  one\n\ntwo ") == ["one\n\ntwo"]
    assert parts(" \n ") == []


def test_a_paragraph_is_not_cut_where_it_need_not_be() -> None:
    first, second = "a " * 99 + "b", "c. " * 90 + "d"
    assert parts(f"{first}\n\n{second}") == [first, second]


def test_without_paragraphs_sentences_are_kept_whole() -> None:
    made = parts(("one two three four five six seven. " * 40).strip())
    assert [len(part.split()) for part in made] == [147, 133]
    assert all(part.endswith(".") for part in made)


def test_without_sentences_words_are() -> None:
    assert [len(part.split()) for part in parts("w " * 400)] == [150, 150, 100]


def test_without_spaces_characters_are_counted() -> None:
    assert [len(part) for part in parts("北" * 3000)] == [1200, 1200, 600]


@given(st.text("ab.\n 北", max_size=3000))
def test_nothing_is_lost(text: str) -> None:
    assert "".join("".join(parts(text)).split()) == "".join(text.split())
