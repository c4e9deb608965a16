"""Words and names that fill the slots: our own lists, and made-up words.

Knows nothing of the phrasings around them.
"""

import random
from collections.abc import Sequence

from tools.bundled_data.grammar import HELD_OUT_ONE_IN, Split, in_split, part
from tools.bundled_data.tables import words_of

WORDS = words_of("words")
COMMON = words_of("common")
COMMON_NAMES = words_of("common_names")
NAMES = words_of("names")
SPELLED = tuple(word for word in WORDS if word not in COMMON)
_LISTED = frozenset(WORDS + COMMON)
_TOKENS = frozenset(COMMON + COMMON_NAMES)
COMMON_RATE = 0.3
LISTED_RATE = 0.5
NEAR_RATE = 0.68
LISTED_NAME_RATE = 0.6
LISTED_VALUE_RATE = 0.5

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


def near_word(rng: random.Random) -> str:
    """A listed word with one letter other than it was, gone, twice or from elsewhere.

    Who has the listed words by heart, instead of reading, reads the listed one.
    """
    word = rng.choice(WORDS)
    at = rng.randrange(len(word))
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return rng.choice(
        (
            word[:at] + letter + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + word[at + 1 :] if len(word) > 2 else word + letter,
            word[:at] + word[at] + word[at:],
        )
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
    made_up = near_word if kind < NEAR_RATE else pseudo_word
    while True:
        word = made_up(rng)
        if word not in _LISTED and in_split(word, split):
            return word


def value_among(
    rng: random.Random, split: Split, listed: Sequence[str], one_in: int = HELD_OUT_ONE_IN
) -> str:
    """One of what is listed or, now and then, any word.

    Where the listed values are few, a model could tell them apart without reading them whole. What
    is a token of its own is not held out, as with `word_of`.
    """
    values = part(tuple(value for value in listed if value not in _TOKENS), split, one_in)
    if split is Split.TRAIN:
        values += tuple(value for value in listed if value in _TOKENS)
    return (
        rng.choice(values) if values and rng.random() < LISTED_VALUE_RATE else word_of(rng, split)
    )


def cased(rng: random.Random, word: str) -> str:
    """`word`, now and then with a capital or in capitals."""
    style = rng.random()
    if style < 0.08:
        return word.capitalize()
    return word.upper() if style < 0.12 else word


def name_of(rng: random.Random, split: Split, listed: Sequence[str] = NAMES) -> str:
    """A person's name, or another of those listed; now and then a made-up one."""
    if rng.random() < LISTED_NAME_RATE:
        return rng.choice(part(tuple(listed), split))
    while True:
        name = pseudo_word(rng).capitalize()
        if in_split(name, split):
            return name
