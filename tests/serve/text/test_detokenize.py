import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.text.detokenize import CharacterDecoder

TEXTS = ["🎈", "漢字", "e\u0301", "👩‍👩‍👧‍👦", "naïve 🇩🇪 ok", "\u0000\u007f\u0080\uffff\U0010ffff"]


def decoded(pieces: list[bytes]) -> list[str]:
    decoder = CharacterDecoder()
    return [*(decoder.feed(piece) for piece in pieces), decoder.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_every_split_gives_whole_characters(text: str) -> None:
    data = text.encode()
    for border in range(len(data) + 1):
        pieces = decoded([data[:border], data[border:]])
        assert "".join(pieces) == text
        assert "\ufffd" not in "".join(pieces)


@pytest.mark.parametrize("text", TEXTS)
def test_byte_by_byte(text: str) -> None:
    pieces = decoded([bytes([byte]) for byte in text.encode()])
    assert [piece for piece in pieces if piece] == list(text)


def test_unfinished_character_becomes_one_replacement_at_the_end() -> None:
    decoder = CharacterDecoder()
    assert decoder.feed("a🎈".encode()[:4]) == "a"
    assert decoder.pending
    assert decoder.flush() == "\ufffd"
    assert not decoder.pending


def test_impossible_bytes_become_replacements_at_once() -> None:
    assert decoded([b"\xe2\x82A", b"\xff", b"B"]) == ["\ufffdA", "\ufffd", "B", ""]


@given(st.lists(st.binary(max_size=5), max_size=8))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    assert "".join(decoded(pieces)) == b"".join(pieces).decode(errors="replace")
