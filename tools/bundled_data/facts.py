"""The facts that the bundled model knows, as `tables/facts.toml` lists them.

Knows nothing of conversations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.grammar import Phrasings
from tools.bundled_data.tables import table


@dataclass(frozen=True, slots=True)
class FactKind:
    """A table of facts asked in the same words.

    Attributes:
        name: of the kind.
        rows: one mapping of slots per fact.
        phrasings: of the question, with slots.
        answer: with slots.
        open_slot: the slot that may hold something that the table does not have; None where
            the question makes no sense with anything else.
        unknown: what may stand there and is not known.
    """

    name: str
    rows: tuple[Mapping[str, str], ...]
    phrasings: Phrasings
    answer: str
    open_slot: str | None = None
    unknown: tuple[str, ...] = ()


def _kind(entry: Mapping[str, Any]) -> FactKind:
    columns = entry["columns"]
    return FactKind(
        name=entry["name"],
        rows=tuple(dict(zip(columns, row, strict=True)) for row in entry["rows"]),
        phrasings=Phrasings(*entry["phrasings"]),
        answer=entry["answer"],
        open_slot=entry.get("open"),
        unknown=tuple(entry.get("unknown", ())),
    )


def _single(entry: Mapping[str, str]) -> FactKind:
    question, short = entry["question"], entry["short"]
    asked = question[0].lower() + question[1:]
    phrasings = Phrasings(
        f"{question}(| please| then|, please)(?|)",
        f"<know>{asked}(| please|, please)(?|)",
        f"(What is|What's|Tell me|Name|Do you know|Give me|Say) the {short}(| please|, please)(?|)",
        f"<know>the {short}(| please|, please)(?|)",
    )
    return FactKind(short, ({},), phrasings, entry["answer"])


FACTS: tuple[FactKind, ...] = (
    *(_kind(entry) for entry in table("facts")["kind"]),
    *(_single(entry) for entry in table("facts")["single"]),
)
