"""Kinds of things of which some can be listed, as `tables/lists.toml` has them."""

from dataclasses import dataclass

from tools.bundled_data.tables import table


@dataclass(frozen=True, slots=True)
class Kind:
    """Things of one kind, in the order in which they are listed."""

    one: str
    many: str
    items: tuple[str, ...]


KINDS = tuple(
    Kind(entry["one"], entry["many"], tuple(entry["items"].split(", ")))
    for entry in table("lists")["kind"]
)


def items_of(one: str) -> tuple[str, ...]:
    """The things of the kind that is called `one`."""
    return next(kind.items for kind in KINDS if kind.one == one)
