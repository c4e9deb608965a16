"""Tools that a conversation offers, from `tables/tools.toml`, and values for their parameters.

Names, descriptions and the names of parameters vary, so that a model has to read them. Knows
nothing of how a tool is asked for.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.facts import CITIES
from tools.bundled_data.grammar import Phrasings, Split, in_split, part, pattern
from tools.bundled_data.tables import table
from tools.bundled_data.words import WORDS, name_of, pseudo_word

MOST_TOOLS = 4
MADE_UP_RATE = 0.2
_TABLE = table("tools")
_DAYS_OF_MONTH = 28


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool.

    Attributes:
        slot: its name in the table.
        key: its name in this conversation.
        kind: of its values.
        type: in the JSON schema.
        description: for the schema.
    """

    slot: str
    key: str
    kind: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as one conversation has it.

    Attributes:
        name: that it is called by.
        description: what it does.
        parameters: in order.
        entry: its row of the table; None for a made-up tool.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    entry: Mapping[str, Any] | None = None

    @property
    def definition(self) -> dict[str, Any]:
        """The tool in the form of the API."""
        properties = {
            each.key: {"type": each.type, "description": each.description}
            for each in self.parameters
        }
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        function = {"name": self.name, "description": self.description, "parameters": schema}
        return {"type": "function", "function": function}


_ASKS = tuple(Phrasings(*entry["asks"]) for entry in _TABLE["tool"])


def asks_for(tool: Tool) -> Phrasings:
    """How a tool of the table is asked for."""
    return _ASKS[_TABLE["tool"].index(tool.entry)]


def _named(rng: random.Random, split: Split, line: str) -> str:
    """One of a line's names; a third of them is held out, the first never."""
    first = pattern(line).plain()
    while True:
        name = pattern(line).draw(rng)
        held = name != first and in_split(name, Split.HELD_OUT, 4)
        if not held or split is Split.HELD_OUT:
            return name


def _listed(rng: random.Random, split: Split, entry: Mapping[str, Any]) -> Tool:
    parameters = tuple(
        Parameter(
            each["slot"],
            _named(rng, split, each["key"]),
            each["kind"],
            each["type"],
            pattern(each["description"]).draw(rng),
        )
        for each in entry["parameters"]
    )
    description = pattern(entry["description"]).draw(rng)
    return Tool(_named(rng, split, entry["name"]), description, parameters, entry)


def _made_up(rng: random.Random, split: Split) -> Tool:
    def word() -> str:
        while True:
            found = rng.choice([rng.choice(WORDS), pseudo_word(rng)])
            if in_split(found, split):
                return found

    keys = {word() for _ in range(rng.randint(1, 2))}
    parameters = tuple(
        Parameter(key, key, kind, "integer" if kind == "big" else "string", f"The {key}")
        for key in sorted(keys)
        for kind in [rng.choice(["big", "word", "name"])]
    )
    return Tool(f"{word()}_{word()}", f"{word().capitalize()} a {word()}.", parameters)


def toolbox(rng: random.Random, split: Split) -> tuple[Tool, ...]:
    """A few tools, each doing another thing, at least one of them of the table."""
    entries = rng.sample(_TABLE["tool"], rng.randint(1, MOST_TOOLS))
    found = [_listed(rng, split, entry) for entry in entries]
    if rng.random() < MADE_UP_RATE:
        found.insert(rng.randint(0, len(found)), _made_up(rng, split))
    return tuple({tool.name: tool for tool in found}.values())


def value_of_kind(rng: random.Random, split: Split, kind: str) -> str | int:
    """A value for a parameter, or in a result."""
    match kind:
        case "city":
            return rng.choice(part(CITIES, split))
        case "name":
            return name_of(rng, split)
        case "word":
            return rng.choice(part(WORDS, split))
        case "title" | "query" | "message":
            return " ".join(rng.choice(part(WORDS, split)) for _ in range(rng.randint(2, 4)))
        case "small" | "hour" | "big" | "degrees":
            return _number(rng, split, kind)
        case "clock":
            return f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}"
        case "phone":
            return "".join(rng.choice("0123456789") for _ in range(rng.randint(5, 8)))
        case "symbol":
            return "".join(rng.choice("ABCDEFGHIKLMNOPRSTUW") for _ in range(rng.randint(3, 4)))
        case "expression":
            sign = rng.choice("+-*/")
            return f"{_number(rng, split, 'big')} {sign} {_number(rng, split, 'big')}"
        case "date":
            return f"2026-{rng.randint(1, 12):02}-{rng.randint(1, _DAYS_OF_MONTH):02}"
        case "ok":
            return rng.choice(["ok", "done", "success"])
        case _:
            values: Sequence[str] = _TABLE["values"][kind]
            return rng.choice(part(tuple(values), split, 5))


def _number(rng: random.Random, split: Split, kind: str) -> int:
    low, high = {"small": (2, 60), "hour": (1, 23), "big": (1, 999), "degrees": (0, 35)}[kind]
    while True:
        number = rng.randint(low, high)
        if in_split(f"{kind} {number}", split, 5):
            return number
