"""Questions about a given text: whether something is so, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.exchange import Exchange, Situation, plain
from tools.bundled_data.grammar import Pattern, Phrasings, fill, part, pattern, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.skills.memory import value_of
from tools.bundled_data.tables import table

YES_NO, WHAT = "yes or no", "reading"
_TABLE = table("reading")
_FRAME = Phrasings(*_TABLE["request"]["frame"])
_YES, _NO = _TABLE["request"]["yes"], _TABLE["request"]["no"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a sentence says, and the questions about it."""

    says: str
    asks: Pattern
    what: Pattern
    value: str

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "Sentence":
        """An entry of the table."""
        asks, what = pattern(entry["asks"]), pattern(entry["what"])
        return cls(entry["says"], asks, what, entry["value"])


_SCENES = tuple(
    tuple(Sentence.read(entry) for entry in scene["sentences"]) for scene in _TABLE["scene"]
)


def _value(now: Situation, slot: str) -> str:
    match slot:
        case "name" | "city":
            return value_of(now.rng, now.split, slot)
        case "n":
            return str(now.rng.randint(2, 90))
        case _:
            return now.rng.choice(part(tuple(_TABLE["words"][slot]), now.split, 7))


def _values(now: Situation) -> dict[str, str]:
    return {slot: _value(now, slot) for slot in ("name", "city", "n", *_TABLE["words"])}


def _scene(now: Situation) -> tuple[str, Sentence, Mapping[str, str]]:
    """A text of some of a scene's sentences, one of these, and the values."""
    rng, slots = now.rng, _values(now)
    sentences = list(rng.choice(_SCENES))
    first, rest = sentences[0], sentences[1:]
    rng.shuffle(rest)
    told = [first, *rest[: rng.randint(0, len(rest))]]
    return " ".join(fill(sentence.says, slots) for sentence in told), rng.choice(told), slots


def _framed(now: Situation, text: str, question: str) -> str:
    template = _FRAME.draw(now.rng, now.split)
    return fill(roughen(now.rng, template), {"text": text, "question": question})


def yes_or_no(now: Situation) -> list[Exchange]:
    """Is it so? Where it is not, one thing in the question is another than in the text."""
    rng = now.rng
    text, sentence, slots = _scene(now)
    true = rng.random() < 0.5
    if not true:
        other = slots[sentence.value]
        while other == slots[sentence.value]:
            other = _value(now, sentence.value)
        slots = {**slots, sentence.value: other}
    question = fill(sentence.asks.draw(rng), slots)
    answer = _YES if true else _NO
    judge = exactly(answer, answer.rstrip("."))
    brief = answer.rstrip(".")
    return [Exchange(YES_NO, _framed(now, text, question), answer, judge, brief=brief)]


def reading(now: Situation) -> list[Exchange]:
    """What does the text say?"""
    text, sentence, slots = _scene(now)
    question = fill(sentence.what.draw(now.rng), slots)
    answer = slots[sentence.value]
    if sentence.value == "room":
        answer = f"in the {answer}"
    return plain(WHAT, _framed(now, text, question), answer, brief=answer)
