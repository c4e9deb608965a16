"""Questions about a given text: whether something is so, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.exchange import Exchange, Situation, plain
from tools.bundled_data.grammar import Pattern, Phrasings, fill, pattern, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.skills.dates import DAYS
from tools.bundled_data.skills.memory import value_of
from tools.bundled_data.tables import table
from tools.bundled_data.words import value_among, word_of

YES_NO, WHAT = "yes or no", "reading"
_TABLE = table("reading")
_FRAME, _AMONG = (Phrasings(*_TABLE["request"][name]) for name in ("frame", "among"))
AMONG_RATE = 0.4
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
        case "day":
            return now.rng.choice(DAYS)
        case _:
            return value_among(now.rng, now.split, _TABLE["words"][slot], 7)


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


def _compared(one: str, other: str) -> str:
    return f"{one} and {other}: {'yes' if one == other else 'no'}"


def _among(now: Situation) -> list[Exchange]:
    """Is a word in a list? The thought compares it with each."""
    rng = now.rng
    items = list(dict.fromkeys(word_of(rng, now.split) for _ in range(rng.randint(2, 5))))
    item = rng.choice(items)
    if rng.random() < 0.5:
        while item in items:
            item = word_of(rng, now.split)
    request = roughen(rng, _AMONG.draw(rng, now.split))
    user = fill(request, {"item": item, "items": ", ".join(items)})
    thought = ", ".join(_compared(each, item) for each in items)
    answer = _YES if item in items else _NO
    judge = exactly(answer, answer.rstrip("."))
    return [Exchange(YES_NO, user, answer, judge, thought, works=True)]


def yes_or_no(now: Situation) -> list[Exchange]:
    """Is it so? Where it is not, one thing in the question is another than in the text.

    The thought compares what the text has with what is asked.
    """
    rng = now.rng
    if rng.random() < AMONG_RATE:
        return _among(now)
    text, sentence, slots = _scene(now)
    told = slots[sentence.value]
    true = rng.random() < 0.5
    if not true:
        while (other := _value(now, sentence.value)) == told:
            pass
        slots = {**slots, sentence.value: other}
    question = fill(sentence.asks.draw(rng), slots)
    thought = _compared(told, slots[sentence.value])
    answer = _YES if true else _NO
    judge = exactly(answer, answer.rstrip("."))
    return [Exchange(YES_NO, _framed(now, text, question), answer, judge, thought, works=True)]


def reading(now: Situation) -> list[Exchange]:
    """What does the text say?"""
    text, sentence, slots = _scene(now)
    question = fill(sentence.what.draw(now.rng), slots)
    answer = slots[sentence.value]
    if sentence.value == "room":
        answer = f"in the {answer}"
    return plain(WHAT, _framed(now, text, question), answer, brief=answer)
