"""Bytes to characters, whatever they are encoded in."""

import codecs
import re

import charset_normalizer

from serve.media.documents import faults
from serve.media.documents.kinds import ALLOWED

# Those of UTF-32 first: one of them begins with one of UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# Without their marks these are not looked for: almost any bytes can be read as one of them.
_MARKED = ["utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"]
# What a few letters with accents are read as, where that is as likely as anything.
_USUAL = "cp1252"
# One control character in so many others is still a text: a log with a stray bell.
_TEXT_FOR_A_CONTROL = 100


def decoded(data: bytes, charset: str = "") -> str:
    """The text, without a byte order mark.

    By its byte order mark; else by the declared encoding; else as UTF-8; else as whatever
    charset-normalizer finds most likely, and of what is as likely as Windows-1252.

    Args:
        data: of a text.
        charset: that it is declared to have, or "".

    Raises:
        MediaError: it is no text, or not in the encoding that it says.
    """
    text = _decoded(data, charset)
    if "\0" in text or len(_CONTROLS.findall(text)) * _TEXT_FOR_A_CONTROL > len(text):
        raise _no_text()
    return text


def _decoded(data: bytes, charset: str) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding)
    if charset:
        return _strictly(data, charset)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _guessed(data)


def _guessed(data: bytes) -> str:
    guesses = charset_normalizer.from_bytes(data, cp_exclusion=_MARKED)
    best = guesses.best()
    if best is None:
        raise _no_text()
    as_good = (each for each in guesses if _merit(each) == _merit(best))
    return str(next((each for each in as_good if _USUAL in each.could_be_from_charset), best))


def _merit(guess: charset_normalizer.CharsetMatch) -> tuple[float, float]:
    return guess.chaos, guess.coherence


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise faults.broken(f"is declared to be in {encoding!a}, which is unknown.") from error
    # UnicodeError, of which codecs for other uses have subclasses of their own.
    except ValueError as error:
        raise faults.broken(f"says that it is in {encoding!a}, but is not.") from error


def _no_text() -> Exception:
    return faults.unsupported(f"is neither text nor of another kind that is read. {ALLOWED}.")
