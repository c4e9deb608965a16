"""Phrasings: many surface forms of one intent, part of them held out for evaluation.

A line is text with alternatives, `(What is|What's) the capital of {country}`; alternatives nest
and may be empty; `<know>` is an opening from `tables/phrasings.toml`. Knows nothing of what the
slots hold or of what the phrasing means.
"""

import random
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from hashlib import blake2b

from tools.bundled_data.tables import table

HELD_OUT_ONE_IN = 10
TYPO_RATE = 0.06
_SLOT = re.compile(r"(\{\w+\})")
_OPENING = re.compile(r"<(\w+)>")


class Split(Enum):
    """Which part of the phrasings, words and names may be used."""

    TRAIN = "train"
    HELD_OUT = "held_out"


def in_split(key: str, split: Split, one_in: int = HELD_OUT_ONE_IN) -> bool:
    """Whether `key` belongs to `split`; a hash decides, the same on every machine."""
    digest = int.from_bytes(blake2b(key.encode(), digest_size=4).digest())
    return (digest % one_in == 0) == (split is Split.HELD_OUT)


@lru_cache(maxsize=64)
def part(items: tuple[str, ...], split: Split, one_in: int = HELD_OUT_ONE_IN) -> tuple[str, ...]:
    """The items that belong to `split`, in order."""
    return tuple(item for item in items if in_split(item, split, one_in))


def _closing(line: str, start: int) -> int:
    depth = 0
    for index in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"the line {line!r} opens a parenthesis at {start} and never closes it")


def _alternatives(body: str) -> list[str]:
    parts, depth = [""], 0
    for character in body:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def expand(line: str, rng: random.Random | None) -> str:
    """One expansion of `line`: random alternatives, or the first ones without an `rng`."""
    out, index = "", 0
    while index < len(line):
        if line[index] != "(":
            out += line[index]
            index += 1
            continue
        end = _closing(line, index)
        choices = _alternatives(line[index + 1 : end])
        out += expand(rng.choice(choices) if rng else choices[0], rng)
        index = end + 1
    return out


def phrasing_key(template: str) -> str:
    """What makes two templates the same phrasing: neither case nor the closing mark counts."""
    return template.rstrip("?.!, ").lower()


class Phrasings:
    """The phrasings of one intent.

    The first alternative of every line always belongs to training, so that the plainest way of
    saying something is never among the held-out ones.
    """

    def __init__(self, *lines: str) -> None:
        openings = table("phrasings")["openings"]
        lines = tuple(_OPENING.sub(lambda at: f"({openings[at[1]]})", line) for line in lines)
        self._lines = lines
        self._plain = frozenset(phrasing_key(expand(line, None)) for line in lines)

    def draw(self, rng: random.Random, split: Split) -> str:
        """A phrasing of `split`, its slots still open."""
        for _ in range(10_000):
            template = expand(rng.choice(self._lines), rng)
            key = phrasing_key(template)
            if key in self._plain:
                if split is Split.TRAIN:
                    return template
            elif in_split(key, split):
                return template
        raise ValueError(f"no phrasing for {split.value} in {self._lines!r}; add alternatives")


def fill(template: str, slots: Mapping[str, str]) -> str:
    """`template` with its slots replaced. Slot values are taken literally."""
    return _SLOT.sub(lambda match: slots[match.group()[1:-1]], template)


def _typo(rng: random.Random, word: str) -> str:
    at = rng.randrange(1, len(word) - 1)
    match rng.randrange(3):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case _:
            return word[:at] + word[at] + word[at:]


def roughen(rng: random.Random, template: str) -> str:
    """`template` as people type it: case, closing mark, now and then a typo; slots untouched."""
    style = rng.random()
    pieces = _SLOT.split(template)
    for index in range(0, len(pieces), 2):
        if style < 0.22:
            pieces[index] = pieces[index].lower()
        elif style < 0.24:
            pieces[index] = pieces[index].upper()
    if 0.24 <= style < 0.34 and pieces[0]:
        pieces[0] = pieces[0][0].lower() + pieces[0][1:]
    if rng.random() < TYPO_RATE:
        index = rng.randrange(0, len(pieces), 2)
        words = pieces[index].split(" ")
        long_words = [at for at, word in enumerate(words) if len(word) > 3 and word.isalpha()]
        if long_words:
            at = rng.choice(long_words)
            words[at] = _typo(rng, words[at])
            pieces[index] = " ".join(words)
    text = "".join(pieces)
    mark = rng.random()
    if text.endswith(("?", ".", "!")) and mark < 0.25:
        text = text[:-1]
    elif mark > 0.97 and text.endswith("}") is False:
        text += rng.choice(["?", "!", ".", " ", "?!", " ?", "\n"])
    return text
