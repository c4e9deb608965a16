"""Prompts that no answer is judged for: what matters is that the answer ends.

Random bytes, other languages, and prompts that nearly fill the context. Knows nothing of how
they are sent.
"""

import random
from collections.abc import Callable, Mapping

from tools.bundled_data.grammar import Split
from tools.bundled_data.skills.unknown import foreign
from tools.bundled_data.words import WORDS, pseudo_word

LONG_CHARACTERS = 6000
_SCRIPTS = ((0x00C0, 0x024F), (0x0370, 0x03FF), (0x0400, 0x04FF), (0x0590, 0x06FF))
_FURTHER = ((0x0900, 0x0DFF), (0x0E00, 0x0EFF), (0x3040, 0x30FF), (0x4E00, 0x9FFF))


def random_bytes(rng: random.Random) -> str:
    """Bytes, read as UTF-8 with a mark where they are none."""
    return rng.randbytes(rng.randint(1, 200)).decode("utf-8", "replace").replace("\0", "?")


def other_languages(rng: random.Random) -> str:
    """Sentences that training never saw, or letters of another script."""
    if rng.random() < 0.5:
        return " ".join(foreign(rng, Split.HELD_OUT) for _ in range(rng.randint(1, 3)))
    first, last = rng.choice(_SCRIPTS + _FURTHER)
    words = (
        "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 8)))
        for _ in range(rng.randint(1, 12))
    )
    return " ".join(words)


def long_prompts(rng: random.Random) -> str:
    """Words, made-up words or one line again and again, more than the context holds.

    Who sends it cuts it to what fits.
    """
    line = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 8)))
    make: Callable[[], str] = rng.choice(
        [lambda: rng.choice(WORDS), lambda: pseudo_word(rng), lambda: line]
    )
    pieces: list[str] = []
    while sum(map(len, pieces)) < LONG_CHARACTERS:
        pieces.append(make())
    return " ".join(pieces)


PROBES: Mapping[str, Callable[[random.Random], str]] = {
    "random bytes": random_bytes,
    "other languages": other_languages,
    "long prompts": long_prompts,
}
