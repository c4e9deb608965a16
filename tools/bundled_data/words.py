"""Words and names that fill the slots: our own lists, and made-up words.

Knows nothing of the phrasings around them.
"""

import random

from tools.bundled_data.grammar import Split, in_split, part
from tools.bundled_data.tables import words_of

WORDS = words_of("words")
COMMON = words_of("common")
NAMES = words_of("names")
SPELLED = tuple(word for word in WORDS if word not in COMMON)
COMMON_RATE = 0.25
LISTED_RATE = 0.6
LISTED_NAME_RATE = 0.6

_ONSETS = words_of("onsets")
_VOWELS = words_of("vowels")
# Most syllables end in a vowel or n.
_CODAS = ("", "", "", *words_of("codas"))


def pseudo_word(rng: random.Random) -> str:
    """A made-up word of one to three syllables, now and then plain random letters."""
    if rng.random() < 0.25:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 10)))
    syllables = rng.choice([1, 2, 2, 2, 3, 3])
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)
    )


def word_of(rng: random.Random, split: Split) -> str:
    """A word to work on.

    Common words are tokens of their own, whose spelling can only be learnt by practice: all are
    practised and none is held out.
    """
    kind = rng.random()
    if kind < COMMON_RATE and split is Split.TRAIN:
        return rng.choice(COMMON)
    if kind < LISTED_RATE:
        return rng.choice(part(SPELLED, split))
    while True:
        word = pseudo_word(rng)
        if in_split(word, split):
            return word


def cased(rng: random.Random, word: str) -> str:
    """`word`, now and then with a capital or in capitals."""
    style = rng.random()
    if style < 0.08:
        return word.capitalize()
    return word.upper() if style < 0.12 else word


def name_of(rng: random.Random, split: Split) -> str:
    """A person's name, now and then a made-up one."""
    if rng.random() < LISTED_NAME_RATE:
        return rng.choice(part(NAMES, split))
    while True:
        name = pseudo_word(rng).capitalize()
        if in_split(name, split):
            return name
