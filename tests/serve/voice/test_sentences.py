"""Texts are cut where sentences end, whatever pieces they come in, and lose their marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.voice.sentences import LONGEST, Sentences

ALPHABET = "aB3.,!?…。」 \n*_`#|[]()-1\t\x00🙂é"


def cut(*pieces: str) -> list[str]:
    sentences = Sentences()
    return [each for piece in pieces for each in sentences.feed(piece)] + sentences.flush()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It costs 3.5 dollars. Yes.", ["It costs 3.5 dollars.", "Yes."]),
        (
            "Dr. Who met J. R. Smith, e.g. here. Bye.",
            ["Dr. Who met J. R. Smith, e.g. here.", "Bye."],
        ),
        ("In the U.S. it is z. B. so.", ["In the U.S. it is z. B. so."]),
        ('"Really?" (Yes.) **No.** So', ['"Really?"', "(Yes.)", "No.", "So"]),
        ("Wait... what", ["Wait...", "what"]),
        ("你好。「是。」真的？！好", ["你好。", "「是。」", "真的？！", "好"]),
        ("one\ntwo\r\n\n three ", ["one", "two", "three"]),
        ("...\n!!\n🙂 \n--- \n***", []),
        ("", []),
        ("# Title\n> said\n- one\n* two\n- [x] done\n1. first", "Title/said/one/two/done/1. first"),
        ("*a* **b** __c__ ~~d~~ `e` snake_case 2*3 2 * 3", ["a b c d e snake_case 2*3 2 * 3"]),
        ("See [the site](http://a.b/c_(d)) and ![a cat](x.png).", ["See the site and a cat."]),
        ("| a | b |\n|---|:--:|\n| 1 | 2 |", ["a, b", "1, 2"]),
        ("```python\nprint('x')\n```\nDone", ["print('x')", "Done"]),
        ("[[h@loU]]", ["h@loU"]),
        ("High [1]. In [2, 3][4] a[5] land [6](x.org).", ["High.", "In a land 6."]),
    ],
)
def test_a_text_is_cut(text: str, told: list[str] | str) -> None:
    assert cut(text) == (told.split("/") if isinstance(told, str) else told)


def test_a_sentence_is_told_as_soon_as_a_space_follows() -> None:
    sentences = Sentences()
    assert sentences.feed("Hello there.") == []
    assert sentences.feed(" ") == ["Hello there."]
    assert sentences.feed("Bye.\n") == ["Bye."]


def test_a_long_one_is_cut_after_a_comma_else_between_words_else_anywhere() -> None:
    assert [len(each) for each in cut("word " * 25 + "end, " + "word " * 40)] == [128, 199]
    assert [len(each) for each in cut("word " * 70)] == [299, 49]
    assert [len(each) for each in cut("a" * 700)] == [301, 301, 98]


@given(st.lists(st.text(ALPHABET, max_size=200), max_size=8))
def test_pieces_change_nothing_and_no_sentence_is_empty_or_long(pieces: list[str]) -> None:
    told = cut(*pieces)
    assert told == cut("".join(pieces)) == cut(*"".join(pieces))
    for sentence in told:
        assert any(map(str.isalnum, sentence))
        assert sentence == " ".join(sentence.split())
        assert len(sentence) <= 2 * LONGEST


@given(st.text("ab12.!? \n,", max_size=1000))
def test_no_letter_or_digit_is_lost_or_made_up(text: str) -> None:
    def letters(text: str) -> str:
        return "".join(filter(str.isalnum, text))

    assert letters("".join(cut(text))) == letters(text)
