"""The tables: everything that conversations are made of and that is not code.

Knows nothing of what the tables mean.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "tables"


@lru_cache
def table(name: str) -> dict[str, Any]:
    """The content of `tables/NAME.toml`; not to be changed by the caller."""
    return tomllib.loads((TABLES / f"{name}.toml").read_text(encoding="utf-8"))


def words_of(name: str) -> tuple[str, ...]:
    """A white-space separated list of `tables/words.toml`."""
    return tuple(table("words")[name].split())


def rows_of(text: str, columns: Sequence[str]) -> tuple[Mapping[str, str], ...]:
    """The lines of `text`, values between bars, as mappings from column to value."""
    return tuple(
        dict(zip(columns, line.split(" | "), strict=True)) for line in text.strip().splitlines()
    )
