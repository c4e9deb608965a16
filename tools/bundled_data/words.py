"""Words and names that fill the slots: our own lists, and made-up words.

Knows nothing of the phrasings around them.
"""

import random

from tools.bundled_data.tables import words_of

WORDS = words_of("words")
COMMON = words_of("common")
NAMES = words_of("names")

_ONSETS = words_of("onsets")
_VOWELS = words_of("vowels")
# Most syllables end in a vowel or n.
_CODAS = ("", "", "", *words_of("codas"))


def pseudo_word(rng: random.Random) -> str:
    """A made-up word of one to three syllables, now and then plain random letters."""
    if rng.random() < 0.35:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 10)))
    syllables = rng.choice([1, 2, 2, 2, 3, 3])
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)
    )
