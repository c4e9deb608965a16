"""What the model has no answer to: questions and tasks outside of it, and what is no question.

Both have a kind answer that ends. What the model does know must not appear in
`tables/unrelated.toml`.
"""

import random
import string
from functools import partial

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, Split, fill, part, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.tables import table
from tools.bundled_data.words import COMMON, NAMES, WORDS, pseudo_word

UNKNOWN = "I don't know that. I am only a small model."
UNCLEAR = "I don't understand that. I am a small model and read only English."
LONG_RATE = 0.12
LONGEST = 1640
REPEATED_RATE = 0.4
MADE_UP_RATE = 0.15

_TABLE = {name: tuple(values) for name, values in table("unrelated").items()}
_PHRASINGS = Phrasings(*_TABLE["phrasings"])
_PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "
_WHOLE = frozenset(COMMON)
_JUDGE = exactly(UNKNOWN, UNCLEAR)


def unknown(now: Situation) -> list[Exchange]:
    """A question or a task that is outside of what the model can do."""
    user = fill(roughen(now.rng, _PHRASINGS.draw(now.rng, now.split)), _slots(now))
    return [Exchange("unknown", user, UNKNOWN, _JUDGE, "This is not among what I know.")]


def unclear(now: Situation) -> list[Exchange]:
    """Another language, code, noise, or a long text without a question."""
    rng = now.rng
    if rng.random() < LONG_RATE:
        return long_text(now)
    match rng.randrange(6):
        case 0 | 1:
            user = foreign(rng, now.split)
        case 2:
            user = rng.choice(part(_TABLE["code"], now.split))
        case _:
            user = _noise(rng, 60)
    return _unclear(user)


def long_text(now: Situation) -> list[Exchange]:
    """Words, noise or one thing again and again, up to what a context holds."""
    return _unclear(_long_text(now))


def _unclear(user: str) -> list[Exchange]:
    return [Exchange("unclear", user, UNCLEAR, _JUDGE, "This is no question that I can read.")]


def _slots(now: Situation) -> dict[str, str]:
    rng = now.rng
    topics, tasks = part(_TABLE["topics"], now.split), part(_TABLE["tasks"], now.split)
    slots = {
        "topic": rng.choice(topics),
        "topic2": rng.choice(topics),
        "task": rng.choice(tasks),
        "language": rng.choice(_TABLE["languages"]),
        "place": rng.choice(_TABLE["places"]),
        "name": rng.choice(NAMES),
        "name2": rng.choice(NAMES),
        "word": rng.choice(WORDS),
        "code": rng.choice(part(_TABLE["code"], now.split)),
        "n": str(rng.randint(0, 100)),
        "n2": str(rng.randint(0, 100)),
    }
    if rng.random() < MADE_UP_RATE:
        slots["topic"] = pseudo_word(rng)
    elif rng.random() < 0.3:
        slots["topic"] = slots["topic"].lower()
    return slots


def foreign(rng: random.Random, split: Split) -> str:
    """A sentence or two in another language."""
    sentences = part(_TABLE["foreign"], split)
    text = " ".join(rng.choice(sentences) for _ in range(rng.choice([1, 1, 1, 2])))
    return text.lower() if rng.random() < 0.15 else text


def _noise(rng: random.Random, longest: int) -> str:
    match rng.randrange(7):
        case 0:
            return _characters(rng, _PRINTABLE, longest)
        case 1:
            return " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, longest // 5)))
        case 2:
            return "".join(chr(rng.randint(0xA1, 0x2FFF)) for _ in range(rng.randint(1, 10)))
        case 3:
            return "".join(chr(rng.randint(0x4E00, 0x9FFF)) for _ in range(rng.randint(1, 8)))
        case 4:
            return _characters(rng, rng.choice("abcdefghijklmnopqrstuvwxyz?!.,;*#"), 20)
        case 5:
            return " ".join(pseudo_word(rng) for _ in range(rng.randint(1, longest // 8)))
        case _:
            return _characters(rng, string.digits, 20)


def _characters(rng: random.Random, alphabet: str, longest: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, longest)))


def _long_text(now: Situation) -> str:
    """As many tokens, about, as a context holds beside an answer; fewer where tools take of it."""
    rng = now.rng
    wanted = rng.randint(150, 600 if now.tools else LONGEST)
    make = rng.choice(
        (
            lambda: rng.choice(WORDS),
            lambda: rng.choice(COMMON),
            lambda: foreign(rng, now.split) if now.split is Split.TRAIN else _noise(rng, 40),
            lambda: pseudo_word(rng),
        )
    )
    if rng.random() < REPEATED_RATE:
        line = " ".join(make() for _ in range(rng.randint(1, 8)))
        make = partial(str, rng.choice((line[:200], _noise(rng, 30))))
    pieces: list[str] = []
    spent = 0
    while spent < wanted:
        pieces.append(make())
        spent += _about_tokens(pieces[-1])
    return " ".join(pieces)


def _about_tokens(text: str) -> int:
    """One for a common word, otherwise one a byte."""
    return sum(1 if word in _WHOLE else len(word.encode()) + 1 for word in text.split(" "))
