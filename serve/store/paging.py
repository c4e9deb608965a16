"""A part of a list, after a place in its order rather than after so many entries.

So it stays right while entries come and go: none is told twice, none is passed over.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Table, insert, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.errors import UnknownCursorError
from serve.store.kept import Cut
from serve.store.tables import gone


async def part(
    connection: AsyncConnection,
    table: Table,
    owner: str,
    cut: Cut,
    conditions: Sequence[ColumnElement[bool]],
    columns: Sequence[Column[Any]],
) -> tuple[Sequence[Row[Any]], bool]:
    """Some `columns` of an owner's entries in `table`.

    Returns:
        rows in the order that `cut` asks for; and whether the list goes on.

    Raises:
        UnknownCursorError: the owner has never had an entry `cut.after`.
    """
    order = (table.c.created, table.c.sequence)
    query = select(*columns).where(table.c.owner == owner, *conditions)
    if cut.after is not None:
        mark = tuple_(*map(literal, await _place_of(connection, table, owner, cut.after)))
        here = tuple_(*order)
        query = query.where(here < mark if cut.newest_first else here > mark)
    query = query.order_by(*(column.desc() if cut.newest_first else column for column in order))
    rows = (await connection.execute(query.limit(cut.limit + 1))).all()
    return rows[: cut.limit], len(rows) > cut.limit


async def _place_of(
    connection: AsyncConnection, table: Table, owner: str, after: str
) -> tuple[int, int]:
    places = [
        select(where.c.created, where.c.sequence).where(where.c.id == after, where.c.owner == owner)
        for where in (table, gone)
    ]
    found = (await connection.execute(places[0].union_all(places[1]))).first()
    if found is None:
        raise UnknownCursorError
    return found.created, found.sequence


async def remember_gone(
    connection: AsyncConnection, table: Table, now: int, *conditions: ColumnElement[bool]
) -> None:
    """Keep the places of entries that are about to be deleted."""
    columns = table.c
    chosen = select(
        columns.id, columns.owner, columns.created, columns.sequence, literal(now)
    ).where(*conditions)
    names = ["id", "owner", "created", "sequence", "deleted"]
    await connection.execute(insert(gone).from_select(names, chosen))
