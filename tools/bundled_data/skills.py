"""One exchange of each skill: what the user says, and what is right to answer.

Knows nothing of conversations but the name that the user has told.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tools.bundled_data.facts import FACTS, FactKind
from tools.bundled_data.grammar import Phrasings, Split, fill, in_split, part, roughen
from tools.bundled_data.tables import table
from tools.bundled_data.unrelated import unrelated
from tools.bundled_data.words import COMMON, NAMES, WORDS, pseudo_word

CANNOT = "I am a small model; I can't help with that."
NO_NAME = "You haven't told me your name yet."
MAX_ADDEND = 20
TELL_AND_ASK_RATE = 0.15
COMMON_RATE = 0.2


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user message and its answer.

    Attributes:
        skill: name of the skill.
        user: the message.
        answer: the answer to learn.
        accepted: all answers that are right, `answer` among them.
        told_name: the name that the user gives here, if any.
    """

    skill: str
    user: str
    answer: str
    accepted: frozenset[str]
    told_name: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What a skill draws its exchange from.

    Attributes:
        rng: the source of randomness.
        split: of phrasings, words and names.
        name: the user's name, if told before.
    """

    rng: random.Random
    split: Split
    name: str | None = None


Skill = Callable[[Situation], Exchange]


def _one(skill: str, user: str, answer: str, told_name: str | None = None) -> Exchange:
    return Exchange(skill, user, answer, frozenset([answer]), told_name)


def _any(rng: random.Random, skill: str, user: str, answers: tuple[str, ...]) -> Exchange:
    return Exchange(skill, user, rng.choice(answers), frozenset(answers))


def _answered(name: str) -> tuple[tuple[Phrasings, tuple[str, ...]], ...]:
    entries = table("phrasings")[name]
    return tuple((Phrasings(*entry["phrasings"]), tuple(entry["answers"])) for entry in entries)


_SMALL_TALK = _answered("small_talk")
_IDENTITY = _answered("identity")
_REQUESTS = {name: Phrasings(*lines) for name, lines in table("phrasings")["requests"].items()}


_SPELLED = tuple(word for word in WORDS if word not in COMMON)


def small_talk(now: Situation) -> Exchange:
    """Greetings, thanks, goodbyes."""
    rng, split = now.rng, now.split
    phrasings, answers = rng.choice(_SMALL_TALK)
    return _any(rng, "small talk", roughen(rng, phrasings.draw(rng, split)), answers)


def identity(now: Situation) -> Exchange:
    """Who and what the model is."""
    rng, split = now.rng, now.split
    phrasings, answers = rng.choice(_IDENTITY)
    return _any(rng, "identity", roughen(rng, phrasings.draw(rng, split)), answers)


def _fact_kind(rng: random.Random) -> FactKind:
    weights = [max(1.0, len(kind.rows) ** 0.8) for kind in FACTS]
    return rng.choices(FACTS, weights)[0]


def _with_articles(text: str) -> str:
    """`text` with "an" before vowels; u is left alone, for "a unicorn"."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def facts(now: Situation) -> Exchange:
    """A question of the tables, or one of the same form that no table answers."""
    rng, split = now.rng, now.split
    kind = _fact_kind(rng)
    row = dict(rng.choice(kind.rows))
    template = roughen(rng, kind.phrasings.draw(rng, split))
    answer = CANNOT
    if kind.open_slot is not None and rng.random() < 0.2:
        known = {known_row[kind.open_slot] for known_row in kind.rows}
        strangers = [item for item in part(kind.unknown, split, 6) if item not in known]
        made_up = pseudo_word(rng)
        if kind.open_slot in ("country", "city"):
            made_up = made_up.capitalize()
        row[kind.open_slot] = rng.choice([rng.choice(strangers), made_up])
    else:
        slots = row | {"Thing": row.get("thing", "").capitalize()}
        answer = _with_articles(fill(kind.answer, slots))
    shown = row if rng.random() < 0.8 else {key: value.lower() for key, value in row.items()}
    return _one("facts", _with_articles(fill(template, shown)), answer)


def addition(now: Situation) -> Exchange:
    """a + b for 0 to 20."""
    rng, split = now.rng, now.split
    a, b = rng.randint(0, MAX_ADDEND), rng.randint(0, MAX_ADDEND)
    template = roughen(rng, _REQUESTS["addition"].draw(rng, split))
    return _one("addition", fill(template, {"a": str(a), "b": str(b)}), f"{a} + {b} = {a + b}")


def _word(rng: random.Random, split: Split) -> str:
    """A word to repeat or reverse.

    Common words are tokens of their own, whose spelling can only be learnt by practice: all are
    practised and none is held out.
    """
    kind = rng.random()
    if kind < COMMON_RATE and split is Split.TRAIN:
        return rng.choice(COMMON)
    if kind < 0.5:
        return rng.choice(part(_SPELLED, split))
    while True:
        word = pseudo_word(rng)
        if in_split(word, split):
            return word


def _cased(rng: random.Random, word: str) -> str:
    style = rng.random()
    if style < 0.08:
        return word.capitalize()
    return word.upper() if style < 0.12 else word


def repeat(now: Situation) -> Exchange:
    """Say something back, letter by letter the same."""
    rng, split = now.rng, now.split
    words = [_cased(rng, _word(rng, split)) for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 5, 6]))]
    if rng.random() < 0.15:
        words[rng.randrange(len(words))] = str(rng.randint(0, 9999))
    text = " ".join(words)
    template = _REQUESTS["repeat"].draw(rng, split)
    return _one("repeat", fill(_roughen_tail(rng, template), {"text": text}), text)


def _roughen_tail(rng: random.Random, template: str) -> str:
    """Roughen a template that ends in text to be kept: nothing may be added after it."""
    rough = roughen(rng, template)
    return rough[: rough.rindex("}") + 1] + template[template.rindex("}") + 1 :]


def reverse_letters(now: Situation) -> Exchange:
    """A word spelled backwards."""
    rng, split = now.rng, now.split
    word = _cased(rng, _word(rng, split))
    template = roughen(rng, _REQUESTS["reverse_letters"].draw(rng, split))
    return _one("reverse letters", fill(template, {"text": word}), word[::-1])


def reverse_words(now: Situation) -> Exchange:
    """The words of a phrase in the opposite order."""
    rng, split = now.rng, now.split
    words = [_cased(rng, _word(rng, split)) for _ in range(rng.choice([2, 3, 3, 4, 5]))]
    template = _roughen_tail(rng, _REQUESTS["reverse_words"].draw(rng, split))
    text, answer = " ".join(words), " ".join(reversed(words))
    return _one("reverse words", fill(template, {"text": text}), answer)


def draw_name(rng: random.Random, split: Split) -> str:
    """A person's name, now and then a made-up one."""
    if rng.random() < 0.6:
        return rng.choice(part(NAMES, split))
    while True:
        name = pseudo_word(rng).capitalize()
        if in_split(name, split):
            return name


def _introduction(now: Situation, request: str) -> tuple[str, str]:
    name = draw_name(now.rng, now.split)
    shown = name.lower() if now.rng.random() < 0.1 else name
    template = roughen(now.rng, _REQUESTS[request].draw(now.rng, now.split))
    return name, fill(template, {"name": shown, "thing": now.rng.choice(WORDS)})


def tell_name(now: Situation) -> Exchange:
    """The user gives a name."""
    name, user = _introduction(now, "tell_name")
    return _one("tell name", user, f"Nice to meet you, {name}!", name)


def ask_name(now: Situation) -> Exchange:
    """The user asks for the name told earlier, or told just now."""
    if now.rng.random() < TELL_AND_ASK_RATE:
        name, user = _introduction(now, "tell_and_ask_name")
        return _one("ask name", user, f"Your name is {name}.", name)
    user = roughen(now.rng, _REQUESTS["ask_name"].draw(now.rng, now.split))
    return _one("ask name", user, NO_NAME if now.name is None else f"Your name is {now.name}.")


def other(now: Situation) -> Exchange:
    """Anything that the model cannot do."""
    rng, split = now.rng, now.split
    return _one("other", unrelated(rng, split), CANNOT)


SKILLS: Mapping[str, tuple[Skill, float]] = {
    "small talk": (small_talk, 0.9),
    "identity": (identity, 0.9),
    "facts": (facts, 2.2),
    "addition": (addition, 1.5),
    "repeat": (repeat, 1.3),
    "reverse letters": (reverse_letters, 1.8),
    "reverse words": (reverse_words, 1.2),
    "tell name": (tell_name, 0.7),
    "ask name": (ask_name, 1.0),
    "other": (other, 1.8),
}
"""Skills by name, each with its share of the exchanges."""
