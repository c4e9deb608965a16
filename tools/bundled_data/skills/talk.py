"""Small talk, who the model is, and what it refuses: a message's intent decides the answer.

The intents are in `tables/talk.toml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.exchange import Exchange, Situation, Skill
from tools.bundled_data.grammar import Phrasings, fill, part, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.tables import table

NAME = "Parlance"


@dataclass(frozen=True, slots=True)
class Intent:
    """What users may say, and what is said in return.

    Attributes:
        phrasings: of the message.
        answers: any of them is right.
        brief: the answer in a word or two.
        slot: a slot of phrasings and answers, and what may stand there.
    """

    phrasings: Phrasings
    answers: tuple[str, ...]
    brief: str | None
    slot: tuple[str, tuple[str, ...]] | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "Intent":
        """An entry of the table."""
        slot = (entry["slot"], tuple(entry["slots"])) if "slot" in entry else None
        phrasings = Phrasings(*entry["phrasings"])
        return cls(phrasings, tuple(entry["answers"]), entry.get("brief"), slot)


def _skill(name: str) -> Skill:
    entries = [entry for entry in table("talk")["intent"] if entry["skill"] == name]
    intents = [Intent.read(entry) for entry in entries]

    def draw(now: Situation) -> list[Exchange]:
        rng = now.rng
        intent = rng.choice(intents)
        slots = {"persona": now.persona or NAME}
        if intent.slot is not None:
            key, values = intent.slot
            slots[key] = rng.choice(part(values, now.split, 5))
        user = fill(roughen(rng, intent.phrasings.draw(rng, now.split)), slots)
        answers = [fill(answer, slots) for answer in intent.answers]
        brief = None if intent.brief is None else fill(intent.brief, slots)
        answer = rng.choice(answers)
        return [Exchange(name, user, answer, exactly(*answers), brief=brief)]

    return draw


small_talk = _skill("small talk")
identity = _skill("identity")
refusal = _skill("refusal")
