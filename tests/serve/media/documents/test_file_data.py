"""Content as requests carry it."""

import base64

import pytest

from serve.media.documents.file_data import unpacked
from serve.media.errors import MediaError


@pytest.mark.parametrize(
    ("file_data", "told"),
    [
        ("aGk=", ("", b"hi")),
        ("data:text/plain;base64,aGk=", ("text/plain", b"hi")),
        ("DATA:text/plain;charset=koi8-r;BASE64,aGk=", ("text/plain;charset=koi8-r", b"hi")),
        ("data:;base64,", ("", b"")),
        ("", ("", b"")),
    ],
)
def test_it_is_unpacked(file_data: str, told: tuple[str, bytes]) -> None:
    assert unpacked(file_data, 2) == told


@pytest.mark.parametrize(
    ("file_data", "said"),
    [
        ("data:text/plain,hi", "a data URL without base64"),
        ("data:text/plain;base64", "neither base64 nor a data URL"),
        ("data:text/plain;base64,aGk", "neither base64 nor a data URL"),
        ("aG k=", "neither base64 nor a data URL"),
        ("aGk=x", "neither base64 nor a data URL"),
        ("größe", "neither base64 nor a data URL"),
        ("https://example.org/a.pdf", "neither base64 nor a data URL"),
        ("data:" + "x" * 2000 + ";base64,aGk=", "neither base64 nor a data URL"),
    ],
)
def test_what_is_wrong_is_said(file_data: str, said: str) -> None:
    with pytest.raises(MediaError, match=said) as refused:
        unpacked(file_data, 4000)
    assert refused.value.code == "invalid_file"


@pytest.mark.parametrize("size", range(1, 10))
def test_the_most_bytes_are_taken_and_much_more_is_not_even_decoded(size: int) -> None:
    assert unpacked(base64.b64encode(bytes(size)).decode(), size) == ("", bytes(size))
    with pytest.raises(MediaError, match=f"has more than {size} bytes") as refused:
        unpacked("!" * (size + 6) * 4, size)
    assert refused.value.code == "file_too_large"
