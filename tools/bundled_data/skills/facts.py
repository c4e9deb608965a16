"""Questions that a table of facts answers, and questions of the same form that none does."""

import random
import re

from tools.bundled_data.exchange import Exchange, Situation, plain
from tools.bundled_data.facts import FACTS, FactKind
from tools.bundled_data.grammar import fill, part, roughen
from tools.bundled_data.skills.unknown import UNKNOWN
from tools.bundled_data.words import pseudo_word

SKILL = "facts"
LOWER_RATE = 0.2
UNKNOWN_RATE = 0.15
_WEIGHTS = tuple(max(0.6, len(kind.rows) ** 0.8) for kind in FACTS)


def _with_articles(text: str) -> str:
    """`text` with "an" before vowels; u is left alone, for "a unicorn"."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def _stranger(rng: random.Random, kind: FactKind, now: Situation) -> str:
    known = {row[str(kind.open_slot)].lower() for row in kind.rows}
    listed = [item for item in part(kind.unknown, now.split, 6) if item.lower() not in known]
    made_up = pseudo_word(rng)
    if kind.open_slot in ("country", "city"):
        made_up = made_up.capitalize()
    return rng.choice([rng.choice(listed), made_up]) if made_up.lower() not in known else listed[0]


def facts(now: Situation) -> list[Exchange]:
    """A question of the tables, or one of the same form that no table answers."""
    kind = now.rng.choices(FACTS, _WEIGHTS)[0]
    return fact_of(now, kind)


def fact_of(now: Situation, kind: FactKind, *, known: bool = False) -> list[Exchange]:
    """A question of one kind; with `known` never one without an answer."""
    rng = now.rng
    row = dict(rng.choice(kind.rows))
    slots = row | {key.capitalize(): value[:1].upper() + value[1:] for key, value in row.items()}
    answer = _with_articles(fill(kind.answer, slots))
    brief = None if kind.brief is None else fill(kind.brief, slots)
    if not known and kind.open_slot is not None and rng.random() < UNKNOWN_RATE:
        row[kind.open_slot] = _stranger(rng, kind, now)
        answer, brief = UNKNOWN, None
    lower = rng.random() < LOWER_RATE
    shown = {
        key: value.lower() if lower and key not in kind.exact else value
        for key, value in row.items()
    }
    template = roughen(rng, kind.phrasings.draw(rng, now.split))
    thought = f"The user asks about the {kind.name}." if len(kind.rows) > 1 else ""
    return plain(SKILL, _with_articles(fill(template, shown)), answer, thought, brief)
