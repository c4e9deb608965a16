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
FEWEST = 2
LOOK = 60
MAX_DRAWS = 5_000
TYPO_RATE = 0.06
OPENING_RATE = 0.15
THIN_RATE = 0.05
_SMALL = frozenset(
    ("the", "a", "an", "is", "are", "please", "me", "do", "does", "it", "this", "that")
)
_SLOT = re.compile(r"(\{\w+\})")
_OPENING = re.compile(r"<(\w+)>")
_MARKS = re.compile(r"[(|)]")


class Split(Enum):
    """Which part of the phrasings, words and names may be used."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@lru_cache(maxsize=1 << 18)
def _digest(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=4).digest())


def in_split(key: str, split: Split, one_in: int = HELD_OUT_ONE_IN) -> bool:
    """Whether `key` belongs to `split`; a hash decides, the same on every machine."""
    return (_digest(key) % one_in == 0) == (split is Split.HELD_OUT)


@lru_cache(maxsize=512)
def part(items: tuple[str, ...], split: Split, one_in: int = HELD_OUT_ONE_IN) -> tuple[str, ...]:
    """The items that belong to `split`, in order: at least `FEWEST` are held out of any list."""
    held = {item for item in items if in_split(item, Split.HELD_OUT, one_in)}
    if len(held) < FEWEST:
        held = set(sorted(items, key=_digest)[:FEWEST])
    return tuple(item for item in items if (item in held) == (split is Split.HELD_OUT))


class Pattern:
    """One line with alternatives, read once.

    Raises:
        ValueError: a parenthesis has no partner.
    """

    def __init__(self, line: str) -> None:
        alternatives, end = _alternatives(line, 0)
        if end < len(line):
            raise ValueError(f"the line {line!r} closes a parenthesis at {end} that none opens")
        if len(alternatives) > 1:
            raise ValueError(f"the line {line!r} has a | outside of parentheses")
        self._parts = alternatives[0]

    def draw(self, rng: random.Random) -> str:
        """Random alternatives."""
        return _joined(self._parts, rng)

    def plain(self) -> str:
        """The first alternatives."""
        return _joined(self._parts, None)


_Parts = list["str | list[_Parts]"]


def _alternatives(line: str, start: int) -> tuple[list[_Parts], int]:
    """The alternatives from `start` to the end or to the `)` that closes them, and that place."""
    found: list[_Parts] = [[]]
    while mark := _MARKS.search(line, start):
        if mark.start() > start:
            found[-1].append(line[start : mark.start()])
        start = mark.end()
        if mark[0] == "|":
            found.append([])
        elif mark[0] == ")":
            return found, mark.start()
        else:
            inner, end = _alternatives(line, start)
            if end == len(line):
                raise ValueError(f"the line {line!r} opens a parenthesis and never closes it")
            found[-1].append(inner)
            start = end + 1
    found[-1].append(line[start:])
    return found, len(line)


def _joined(parts: _Parts, rng: random.Random | None) -> str:
    out = ""
    for item in parts:
        if isinstance(item, str):
            out += item
        else:
            out += _joined(item[int(rng.random() * len(item))] if rng else item[0], rng)
    return out


@lru_cache(maxsize=4096)
def pattern(line: str) -> Pattern:
    """The pattern of a line, its openings in place."""
    openings = table("phrasings")["openings"]
    return Pattern(
        _OPENING.sub(lambda at: f"({openings[at[1]]})" if at[1] in openings else at[0], line)
    )


def opened(rng: random.Random, template: str) -> str:
    """`template` after an opening that any request may have; as it is where it has none to take."""
    openings: list[str] = table("phrasings")["any"]
    if not template[:1].isalpha() or template.startswith(tuple(each.rstrip() for each in openings)):
        return template
    first = template.split(" ", 1)[0]
    keeps = first[0] == "I" or not first[1:].islower()
    return rng.choice(openings) + (template if keeps else template[0].lower() + template[1:])


def phrasing_key(template: str) -> str:
    """What makes two templates the same phrasing: neither case nor the closing mark counts."""
    return template.rstrip("?.!, ").lower()


class Phrasings:
    """The phrasings of one intent.

    The first alternative of every line always belongs to training, so that the plainest way of
    saying something is never among the held-out ones. Now and then a phrasing comes after an
    opening that any request may have, unless `opened` is False.
    """

    def __init__(self, *lines: str, opened: bool = True) -> None:
        self._lines, self._opened = lines, opened
        self._patterns = tuple(pattern(line) for line in lines)
        self._plain = frozenset(phrasing_key(line.plain()) for line in self._patterns)
        self._few = self._held_of_few()

    def _held_of_few(self) -> frozenset[str]:
        """What is held out where the hash, in a look at some phrasings, holds out none."""
        rng = random.Random(0)
        drawn = {phrasing_key(self._any(rng)) for _ in range(LOOK)} - self._plain
        if any(in_split(key, Split.HELD_OUT) for key in drawn):
            return frozenset()
        return frozenset(sorted(drawn, key=_digest)[:FEWEST])

    def _any(self, rng: random.Random) -> str:
        template = self._patterns[int(rng.random() * len(self._patterns))].draw(rng)
        opens = self._opened and rng.random() < OPENING_RATE
        return opened(rng, template) if opens else template

    def draw(self, rng: random.Random, split: Split) -> str:
        """A phrasing of `split`, its slots still open.

        Raises:
            ValueError: there is none.
        """
        for _ in range(MAX_DRAWS):
            template = self._any(rng)
            key = phrasing_key(template)
            held = key in self._few or in_split(key, Split.HELD_OUT)
            if (held and key not in self._plain) == (split is Split.HELD_OUT):
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
    """`template` as people type it: case, closing mark, a typo, a small word less; slots untouched.

    What stands after the last slot's closing quote or at the template's end may change; a
    template that ends in a slot gets nothing after it.
    """
    style = rng.random()
    pieces = _SLOT.split(template)
    for index in range(0, len(pieces), 2):
        if style < 0.22:
            pieces[index] = pieces[index].lower()
        elif style < 0.26:
            pieces[index] = pieces[index].upper()
    if 0.26 <= style < 0.36 and pieces[0]:
        pieces[0] = pieces[0][0].lower() + pieces[0][1:]
    if rng.random() < TYPO_RATE:
        _add_typo(rng, pieces)
    if rng.random() < THIN_RATE:
        _leave_out(rng, pieces)
    text = "".join(pieces)
    mark = rng.random()
    if text.endswith(("?", ".", "!")) and mark < 0.25:
        text = text[:-1]
    elif mark > 0.97 and text and text[-1].isalnum():
        text += rng.choice(["?", "!", ".", " ", "?!", " ?", "\n"])
    return text


def _add_typo(rng: random.Random, pieces: list[str]) -> None:
    index = rng.randrange(0, len(pieces), 2)
    words = pieces[index].split(" ")
    long_words = [at for at, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    if long_words:
        at = rng.choice(long_words)
        words[at] = _typo(rng, words[at])
        pieces[index] = " ".join(words)


def _leave_out(rng: random.Random, pieces: list[str]) -> None:
    index = rng.randrange(0, len(pieces), 2)
    words = pieces[index].split(" ")
    small = [at for at, word in enumerate(words) if word.lower() in _SMALL]
    if small:
        del words[rng.choice(small)]
        pieces[index] = " ".join(words)
