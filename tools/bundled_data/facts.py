"""The facts that the bundled model knows, as `tables/facts.toml` lists them.

Knows nothing of conversations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.bundled_data.grammar import Phrasings
from tools.bundled_data.tables import rows_of, table


@dataclass(frozen=True, slots=True)
class FactKind:
    """A table of facts asked in the same words.

    Attributes:
        name: of the kind.
        rows: one mapping of slots per fact.
        phrasings: of the question, with slots.
        answer: with slots.
        brief: the answer in a word or two, with slots, where there is one.
        exact: the slots whose case matters.
        open_slot: the slot that may hold something that the table does not have; None where
            the question makes no sense with anything else.
        unknown: what may stand there and is not known.
        shared: whether the rows are another kind's, asked the other way round.
    """

    name: str
    rows: tuple[Mapping[str, str], ...]
    phrasings: Phrasings
    answer: str
    brief: str | None = None
    exact: frozenset[str] = frozenset()
    open_slot: str | None = None
    unknown: tuple[str, ...] = ()
    shared: bool = False


def _kind(entry: Mapping[str, Any], rows_by_name: Mapping[str, str]) -> FactKind:
    shared = entry["rows"] in rows_by_name
    rows = rows_of(rows_by_name.get(entry["rows"], entry["rows"]), entry["columns"])
    skipped = set(entry.get("skip", ()))
    return FactKind(
        name=entry["name"],
        rows=tuple(row for row in rows if not skipped & set(row.values())),
        phrasings=Phrasings(*entry["phrasings"]),
        answer=entry["answer"],
        brief=entry.get("brief"),
        exact=frozenset(entry.get("exact", ())),
        open_slot=entry.get("open"),
        unknown=tuple(entry["unknown"].split("; ")) if "unknown" in entry else (),
        shared=shared,
    )


def _single(entry: Mapping[str, str]) -> FactKind:
    question, short = entry["question"], entry["short"]
    asked = question[0].lower() + question[1:]
    bare = asked.rstrip("?")
    phrasings = Phrasings(
        f"{question.rstrip('?')}(| please| then|, please)(?|)",
        f"<know>{bare}(| please|, please)(?|)",
        f"(What is|What's|Tell me|Name|Do you know|Give me|Say) the {short}(| please|, please)(?|)",
        f"<know>the {short}(| please|, please)(?|)",
    )
    return FactKind(short, ({},), phrasings, entry["answer"], entry.get("brief"))


def _all() -> tuple[FactKind, ...]:
    kinds, singles = table("facts")["kind"], table("facts")["single"]
    rows_by_name = {entry["name"]: entry["rows"] for entry in kinds}
    return (
        *(_kind(entry, rows_by_name) for entry in kinds),
        *(_single(entry) for entry in singles),
    )


FACTS: tuple[FactKind, ...] = _all()
CITIES = tuple(row["city"] for kind in FACTS if kind.name == "capital" for row in kind.rows)
