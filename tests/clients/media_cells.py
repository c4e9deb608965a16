"""What the programs for Python have in common where they send pictures and files.

The model of the server that sees has random weights. Its answers have no sense, but follow from
all of the prompt, and are the same at temperature 0.
"""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from cells import SEEING_URL

SEEING = "seeing"
ABOUT = "What is this?"
MEDIA = Path(__file__).parent / "media"
PICTURES = (MEDIA / "stripes.png", MEDIA / "dots.png")
# Each 8 × 8 of 48 × 32 pixels, and what begins and ends a picture.
_PICTURE_TOKENS = 6 * 4 + 2
PDF, TEXT = MEDIA / "anna.pdf", MEDIA / "ben.txt"
_KINDS = {".pdf": "application/pdf", ".png": "image/png", ".txt": "text/plain"}


class Told(NamedTuple):
    """An answer, and the tokens of its prompt."""

    text: str
    prompt_tokens: int


Ask = Callable[[Path], Told]


def kind(path: Path) -> str:
    """The media type of a file."""
    return _KINDS[path.suffix]


def as_base64(path: Path) -> str:
    """What is in a file."""
    return base64.b64encode(path.read_bytes()).decode()


def data_url(path: Path) -> str:
    """A file as a URL."""
    return f"data:{kind(path)};base64,{as_base64(path)}"


def check_images(ask: Ask, fields: Mapping[str, Any] = {}) -> None:
    """Pictures are seen as plain HTTP sends them, and each is answered otherwise.

    Args:
        ask: the client asks `ABOUT` one.
        fields: those of its own that a request has, once it has asked.
    """
    told = [ask(path) for path in PICTURES]
    urls = [{"url": data_url(path)} for path in PICTURES]
    assert told == [plain(fields, {"type": "image_url", "image_url": url}) for url in urls]
    (stripes, count), (dots, _) = told
    assert stripes != dots
    assert count == plain(fields).prompt_tokens + _PICTURE_TOKENS


def check_file(ask: Ask, path: Path, name: str = "", fields: Mapping[str, Any] = {}) -> None:
    """A file is read as plain HTTP sends it, and answered otherwise than none.

    Args:
        ask: the client asks `ABOUT` it.
        path: where it is.
        name: by which it is sent, if that is not its own.
        fields: those of its own that a request has, once it has asked.
    """
    told, without = ask(path), plain(fields)
    file = {"filename": name or path.name, "file_data": data_url(path)}
    assert told == plain(fields, {"type": "file", "file": file})
    assert told.text != without.text
    # Each character of what it says is a token.
    assert told.prompt_tokens > without.prompt_tokens + 20


def plain(fields: Mapping[str, Any], *parts: dict[str, Any]) -> Told:
    """What is answered about these parts without a client."""
    messages = [{"role": "user", "content": [{"type": "text", "text": ABOUT}, *parts]}]
    body = {"model": SEEING, "messages": messages, "temperature": 0, **fields}
    answer = httpx.post(f"{SEEING_URL}/chat/completions", json=body, timeout=60)
    assert answer.is_success, answer.text
    made = answer.json()
    return Told(made["choices"][0]["message"]["content"], made["usage"]["prompt_tokens"])
