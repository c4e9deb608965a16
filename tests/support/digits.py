"""The numbers in a text of JSON, whole or cut off, and how many digits they have."""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serve.engine.types import Constraint

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NUMBER = re.compile(r"-?[0-9][-+.0-9eE]*")
Choose = Callable[[NDArray[np.intp]], int]


def numbers_in(text: str) -> list[str]:
    """Numbers outside of strings, as they are written."""
    return _NUMBER.findall(_STRING.sub('""', text))


def significant(number: str) -> int:
    """How many significant digits a number is written with."""
    mantissa = re.split("[eE]", number)[0].lstrip("-")
    digits = mantissa.replace(".", "").lstrip("0")
    return len(digits if "." in mantissa else digits.rstrip("0"))


def check(number: str) -> None:
    """A number that ends: it has as many digits as a free one may have."""
    mantissa, _, exponent = re.sub("[eE]", "e", number).partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    zeros = len(fraction) - len(fraction.lstrip("0")) if whole == "0" else 0
    assert significant(number) <= 17, number
    assert len(whole) <= 21, number
    assert zeros <= 7, number
    assert len(exponent.lstrip("+-")) <= 3, number


def draw(constraint: Constraint, choose: Choose, size: int, ends: frozenset[int], most: int) -> str:
    """An answer of at most so many tokens, byte tokens alone being its text.

    Args:
        constraint: of the answer.
        choose: one of the tokens that may follow.
        size: of the vocabulary.
        ends: ids that end it.
        most: tokens.
    """
    matcher, said, words = constraint.matcher(), bytearray(), np.zeros(-(-size // 32), np.uint32)
    for _ in range(most):
        matcher.fill(words)
        allowed = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
        assert allowed.size, f"nothing may follow {bytes(said)!r}"
        token = choose(allowed)
        if token in ends:
            break
        matcher.accept(token)
        said += bytes([token]) if token < 256 else b""
        if matcher.finished:
            break
    return said.decode(errors="ignore")


def random_model(rng: np.random.Generator, size: int, liked: bytes = b"") -> Choose:
    """Draws by logits of its own, the same at each token, at temperature 2.

    Args:
        rng: of the logits and the draws.
        size: of the vocabulary.
        liked: byte tokens that are likelier.
    """
    logits = rng.normal(0, 3, size)
    logits[list(liked)] += 4

    def choose(allowed: NDArray[np.intp]) -> int:
        return int(allowed[np.argmax(logits[allowed] / 2 + rng.gumbel(size=allowed.size))])

    return choose
