"""Plain sentences to work on."""

from collections.abc import Mapping

from tools.bundled_data.exchange import Situation
from tools.bundled_data.grammar import fill
from tools.bundled_data.tables import table
from tools.bundled_data.words import name_of, value_among

_SENTENCES: list[str] = table("editing")["sentences"]
_WORDS: Mapping[str, list[str]] = table("reading")["words"]


def sentence(now: Situation) -> str:
    """One sentence."""
    words = {
        f"{kind}{number}": value_among(now.rng, now.split, items, 7)
        for kind, items in _WORDS.items()
        for number in ("", "2")
    }
    return fill(now.rng.choice(_SENTENCES), words | {"name": name_of(now.rng, now.split)})
