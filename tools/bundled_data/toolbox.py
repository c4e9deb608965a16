"""Tools that a conversation offers, from `tables/tools.toml`, and values for their parameters.

Names, descriptions and the names of parameters vary, so that a model has to read them. Knows
nothing of how a tool is asked for.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.facts import CITIES
from tools.bundled_data.grammar import Phrasings, Split, in_split, pattern
from tools.bundled_data.lists_of_things import items_of
from tools.bundled_data.tables import table
from tools.bundled_data.words import WORDS, name_of, pseudo_word, value_among, word_of

MOST_TOOLS = 4
MADE_UP_RATE = 0.2
RENAMED_RATE, NEW_KEY_RATE = 0.4, 0.15
TWO_WORDS_RATE = 0.1
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


def _made_up_name(rng: random.Random, split: Split) -> str:
    while True:
        found = rng.choice([rng.choice(WORDS), pseudo_word(rng)])
        if in_split(found, split):
            return found


def _listed(rng: random.Random, split: Split, entry: Mapping[str, Any]) -> Tool:
    """A tool of the table, in training now and then under a name that says nothing.

    Who knows all the names need not read what a tool does, and is lost with another one.
    """

    def named(line: str, rate: float, *, words: int) -> str:
        if split is Split.TRAIN and rng.random() < rate:
            return "_".join(_made_up_name(rng, split) for _ in range(words))
        return _named(rng, split, line)

    parameters = tuple(
        Parameter(
            each["slot"],
            named(each["key"], NEW_KEY_RATE, words=1),
            each["kind"],
            each["type"],
            pattern(each["description"]).draw(rng),
        )
        for each in entry["parameters"]
    )
    description = pattern(entry["description"]).draw(rng)
    name = named(entry["name"], RENAMED_RATE, words=rng.randint(1, 2))
    return Tool(name, description, parameters, entry)


def _made_up(rng: random.Random, split: Split) -> Tool:
    def word() -> str:
        return _made_up_name(rng, split)

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
            return name_of(rng, split, CITIES)
        case "name":
            return name_of(rng, split)
        case "word":
            return word_of(rng, split)
        case "title" | "query" | "message":
            return " ".join(word_of(rng, split) for _ in range(rng.randint(2, 4)))
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
        case "day":
            return rng.choice(items_of("day of the week"))
        case _:
            value = value_among(rng, split, _TABLE["values"][kind], 5)
            return f"{word_of(rng, split)} {value}" if rng.random() < TWO_WORDS_RATE else value


def _number(rng: random.Random, split: Split, kind: str) -> int:
    low, high = {"small": (2, 60), "hour": (1, 23), "big": (1, 9999), "degrees": (0, 35)}[kind]
    while True:
        number = rng.randint(low, high)
        if kind == "big":
            number %= 10 ** rng.randint(1, 4)
        if in_split(f"{kind} {number}", split, 5):
            return number
