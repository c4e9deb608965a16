"""Data URLs and base64, in pieces."""

import base64
import random

import pytest

from serve.media import data_url
from serve.media.data_url import decoded, decoded_bytes, head_of


def test_base64_in_pieces_is_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_url, "_PIECE", 8)
    draw = random.Random(5)
    for size in range(40):
        data = draw.randbytes(size)
        written = "data:," + base64.b64encode(data).decode()
        assert decoded(written, 6) == data
        assert 0 <= decoded_bytes(written, 6) - size <= 2


@pytest.mark.parametrize(
    "text",
    [
        "AAAAAA==AAAAAAAA",
        "AAAAAAA=AAAA",
        "AAAAAAAA\nAAAA",
        "AAAAAAAAAAA",
        "AAAAAAAA AAAAAAA",
        "Ä" * 8,
    ],
)
def test_no_piece_may_end_the_data(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(data_url, "_PIECE", 8)
    with pytest.raises(ValueError, match=r"."):
        decoded(text)


def test_heads() -> None:
    assert head_of("AAAA") is None
    assert head_of("data:no comma") is None
    plain = head_of("data:text/plain,Hello")
    assert plain is not None
    assert (plain.declared, plain.is_base64) == ("text/plain", False)
    full = head_of("DATA:text/plain;charset=koi8-r;BASE64,AAAA")
    assert full is not None
    assert (full.declared, full.is_base64, full.end) == ("text/plain;charset=koi8-r", True, 38)
