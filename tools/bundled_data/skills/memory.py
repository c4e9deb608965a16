"""What the user told earlier: about themselves, or in the message before."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.exchange import Exchange, Situation, plain
from tools.bundled_data.facts import CITIES
from tools.bundled_data.grammar import Phrasings, Split, fill, in_split, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.tables import table
from tools.bundled_data.words import WORDS, name_of, value_among, word_of

TELL, ASK = "being told", "remembering"
LONGEST_REPEATED = 120
_TABLE = table("memory")


@dataclass(frozen=True, slots=True)
class About:
    """One thing that users tell of themselves."""

    name: str
    kind: str
    tell: Phrasings
    told: str
    ask: Phrasings
    asked: str
    not_told: str

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "About":
        """An entry of the table."""
        fields: dict[str, Any] = dict(entry)
        for key in ("tell", "ask"):
            fields[key] = Phrasings(*entry[key])
        return cls(**fields)


ABOUT = {entry["name"]: About.read(entry) for entry in _TABLE["about"]}
_BEFORE = Phrasings(*_TABLE["before"]["ask"])


def value_of(rng: random.Random, split: Split, kind: str) -> str:
    """A value that may be told."""
    match kind:
        case "name":
            return name_of(rng, split)
        case "city":
            return name_of(rng, split, CITIES)
        case "word":
            return word_of(rng, split)
        case "age" | "number":
            while True:
                value = str(rng.randint(5, 99) if kind == "age" else rng.randint(10, 99_999))
                if in_split(f"{kind} {value}", split):
                    return value
        case _:
            return value_among(rng, split, _TABLE["values"][kind], 6)


def telling(now: Situation) -> list[Exchange]:
    """The user tells something; half of the time it is the name."""
    rng = now.rng
    about = ABOUT["name"] if rng.random() < 0.4 else rng.choice(list(ABOUT.values()))
    value = value_of(rng, now.split, about.kind)
    shown = value.lower() if about.kind == "name" and rng.random() < 0.1 else value
    slots = {"value": shown, "thing": rng.choice(WORDS)}
    user = fill(roughen(rng, about.tell.draw(rng, now.split)), slots)
    if user.startswith(shown) and user[0].islower() and rng.random() < 0.8:
        user = user[0].upper() + user[1:]
    answer = fill(about.told, {"value": value})
    return [Exchange(TELL, user, answer, exactly(answer), told={about.name: value})]


def remembering(now: Situation) -> list[Exchange]:
    """The user asks for something told before, or never told."""
    rng = now.rng
    if rng.random() < 0.1 and len(now.before or "") <= LONGEST_REPEATED:
        return _before(now)
    known = rng.random() < 0.8 and bool(now.told)
    names = list(now.told) if known else list(ABOUT)
    about = ABOUT[rng.choice(names)]
    user = roughen(rng, about.ask.draw(rng, now.split))
    if about.name not in now.told:
        return plain(ASK, user, about.not_told)
    value = now.told[about.name]
    return plain(ASK, user, fill(about.asked, {"value": value}), brief=value)


def _before(now: Situation) -> list[Exchange]:
    user = roughen(now.rng, _BEFORE.draw(now.rng, now.split))
    if now.before is None:
        return plain(ASK, user, _TABLE["before"]["nothing"])
    return plain(ASK, user, fill(_TABLE["before"]["said"], {"text": now.before}))
