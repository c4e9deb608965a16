"""Fields of a sentence as JSON, after a schema in the prompt or in the request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, fill, roughen
from tools.bundled_data.judges import JsonEqual
from tools.bundled_data.skills.dates import DAYS
from tools.bundled_data.skills.memory import value_of
from tools.bundled_data.tables import table
from tools.bundled_data.words import value_among

SKILL = "extraction"
FORMAT_RATE = 0.35
_TABLE = table("extraction")
_WORDS = {**table("reading")["words"], **_TABLE["words"]}
_FRAME, _WITH_FORMAT = (Phrasings(*_TABLE["request"][name]) for name in ("frame", "with_format"))
_IN_STOCK = {"in stock": True, "available": True, "sold out": False, "not available": False}
_DIGITS = "0123456789"


@dataclass(frozen=True, slots=True)
class Kind:
    """Sentences of one kind and the fields that they have."""

    title: str
    says: tuple[str, ...]
    fields: tuple[Mapping[str, Any], ...]


_KINDS = tuple(
    Kind(entry["title"], tuple(entry["says"]), tuple(entry["fields"])) for entry in _TABLE["kind"]
)


def compact(value: object) -> str:
    """JSON without spaces between its tokens."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def extraction(now: Situation) -> list[Exchange]:
    """A sentence, a schema, and the object; some of the fields only, their names vary."""
    rng = now.rng
    kind = rng.choice(_KINDS)
    slots = {str(each["slot"]): _value(now, str(each["slot"])) for each in kind.fields}
    fields = rng.sample(kind.fields, rng.randint(2, len(kind.fields)))
    if rng.random() < 0.7:
        fields.sort(key=kind.fields.index)
    keys = [rng.choice(each["keys"]) for each in fields]
    properties = {key: {"type": each["type"]} for key, each in zip(keys, fields, strict=True)}
    wanted = {
        key: _typed(each["type"], slots[each["slot"]])
        for key, each in zip(keys, fields, strict=True)
    }
    text = fill(rng.choice(kind.says), slots)
    schema: dict[str, object] = {"type": "object", "properties": properties, "required": keys}
    answer, judge = compact(wanted), JsonEqual(wanted)
    if rng.random() < FORMAT_RATE:
        user = fill(_WITH_FORMAT.draw(rng, now.split), {"text": text})
        closed = {**schema, "additionalProperties": False}
        named = {"title": kind.title, **closed}
        return [Exchange(SKILL, user, answer, judge, schema=named)]
    shown = compact(schema) if rng.random() < 0.6 else _short(properties)
    template = roughen(rng, _FRAME.draw(rng, now.split))
    user = fill(template, {"text": text, "schema": shown})
    return [Exchange(SKILL, user, answer, judge)]


def _short(properties: Mapping[str, Mapping[str, str]]) -> str:
    return compact({key: each["type"] for key, each in properties.items()})


def _typed(kind: str, value: str) -> object:
    match kind:
        case "integer":
            return int(value)
        case "boolean":
            return _IN_STOCK[value]
        case _:
            return value


def _value(now: Situation, slot: str) -> str:
    rng = now.rng
    match slot:
        case "name":
            return value_of(rng, now.split, "name")
        case "city" | "city2":
            return value_of(rng, now.split, "city")
        case "age" | "n" | "price" | "hour":
            low, high = {"age": (5, 99), "n": (2, 60), "price": (2, 999), "hour": (1, 23)}[slot]
            return str(rng.randint(low, high))
        case "email":
            user = value_of(rng, now.split, "name").lower()
            return f"{user}@{value_of(rng, now.split, 'word')}.{rng.choice(['com', 'org', 'net'])}"
        case "phone":
            return "".join(rng.choice(_DIGITS) for _ in range(rng.randint(5, 9)))
        case "stock":
            return rng.choice(list(_IN_STOCK))
        case "day":
            return rng.choice(DAYS)
        case _:
            return value_among(rng, now.split, _WORDS[slot], 7)
