"""Completions: reserved before they are generated, there when they have ended.

What a request says is written before its answer is begun, so that a store which cannot take it is
found out then; one statement makes both visible at the end.
"""

import json
import time
from collections.abc import Mapping

from sqlalchemy import ColumnElement, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.database import Database
from serve.store.errors import StoreUnavailableError, UnknownCursorError
from serve.store.kept import Asked, CompletionFilter, Cut, Page, StoredCompletion
from serve.store.metrics import StoreMetrics
from serve.store.paging import part, remember_gone
from serve.store.room import Room
from serve.store.tables import completions, labels, messages

# A page of answers with log-probabilities could be of any size: a shorter one says it has more.
PAGE_BYTES = 8 * 2**20

_KIND = "completion"
_C = completions.c


class Completions:
    """Those of one store.

    Args:
        database: has them.
        room: what they may take.
        metrics: told what comes and goes.
        keep_seconds: older ones are not there any more.
    """

    def __init__(
        self, database: Database, room: Room, metrics: StoreMetrics, keep_seconds: int
    ) -> None:
        self._database = database
        self._room = room
        self._metrics = metrics
        self._keep_seconds = keep_seconds

    async def reserve(self, asked: Asked) -> None:
        """Write what is known of a completion; nobody sees it yet.

        Raises:
            StoreUnavailableError: the store cannot take it.
        """
        size = asked.size
        self._room.check(size)

        async def work(connection: AsyncConnection) -> None:
            row = {
                "id": asked.id,
                "owner": asked.owner,
                "created": asked.created,
                "bytes": size,
                "model": asked.model,
                "metadata": _json(asked.metadata),
                "fields": asked.fields,
            }
            added = insert(completions).values(row).returning(_C.sequence)
            sequence = await connection.scalar(added)
            said = [
                {"completion": sequence, "place": place, "body": body}
                for place, body in enumerate(asked.messages)
            ]
            await connection.execute(insert(messages), said)
            await _label(connection, sequence, asked.metadata)

        await self._database.write("reserve", work)
        self._room.add(size)

    async def finish(self, completion_id: str, created: int, answer: str) -> None:
        """Have a reserved completion be there, with its answer.

        Raises:
            StoreUnavailableError: the store cannot take it, or has lost it.
        """
        size = len(answer)

        async def work(connection: AsyncConnection) -> None:
            change = (
                update(completions)
                .where(_C.id == completion_id, _C.answer.is_(None))
                .values(answer=answer, created=created, bytes=_C.bytes + size)
            )
            if (await connection.execute(change)).rowcount != 1:
                raise StoreUnavailableError("what was reserved is no longer there")

        await self._database.write("finish", work)
        self._room.add(size)
        self._metrics.stored(_KIND)

    async def release(self, completion_id: str) -> None:
        """Forget a reserved completion that gets no answer."""

        async def work(connection: AsyncConnection) -> int:
            removal = delete(completions).where(_C.id == completion_id, _C.answer.is_(None))
            return await connection.scalar(removal.returning(_C.bytes)) or 0

        self._room.add(-await self._database.write("release", work))

    async def list(self, owner: str, cut: Cut, chosen: CompletionFilter) -> Page[StoredCompletion]:
        """A page of an owner's completions, shorter than asked for where they are large.

        Raises:
            StoreUnavailableError: the store does not answer.
            UnknownCursorError: there was none to go on after.
        """

        async def work(connection: AsyncConnection) -> Page[StoredCompletion]:
            conditions, columns = [*self._there(), *_conditions(chosen)], (_C.sequence, _C.bytes)
            rows, has_more = await part(connection, completions, owner, cut, conditions, columns)
            size, fitting = 0, list[int]()
            for row in rows:
                size += row.bytes
                if fitting and size > PAGE_BYTES:
                    break
                fitting.append(row.sequence)
            query = select(_C.sequence, *_STORED).where(_C.sequence.in_(fitting))
            by_place = {row.sequence: row for row in await connection.execute(query)}
            entries = [_stored(by_place[sequence]) for sequence in fitting]
            return Page(entries, has_more or len(fitting) < len(rows))

        return await self._database.read("list", work)

    async def get(self, owner: str, completion_id: str) -> StoredCompletion | None:
        """One of an owner's completions, or None."""

        async def work(connection: AsyncConnection) -> StoredCompletion | None:
            query = select(*_STORED).where(*self._one(owner, completion_id))
            row = (await connection.execute(query)).first()
            return None if row is None else _stored(row)

        return await self._database.read("get", work)

    async def relabel(
        self, owner: str, completion_id: str, metadata: Mapping[str, str]
    ) -> StoredCompletion | None:
        """Replace the metadata of one of an owner's completions; None where there is none."""

        async def work(connection: AsyncConnection) -> StoredCompletion | None:
            change = (
                update(completions)
                .where(*self._one(owner, completion_id))
                .values(metadata=_json(metadata))
                .returning(_C.sequence, *_STORED)
            )
            row = (await connection.execute(change)).first()
            if row is None:
                return None
            await connection.execute(delete(labels).where(labels.c.completion == row.sequence))
            await _label(connection, row.sequence, metadata)
            return _stored(row)

        return await self._database.write("update", work)

    async def delete(self, owner: str, completion_id: str) -> bool:
        """Delete one of an owner's completions; whether it was there."""

        async def work(connection: AsyncConnection) -> int | None:
            one = self._one(owner, completion_id)
            await remember_gone(connection, completions, int(time.time()), *one)
            return await connection.scalar(delete(completions).where(*one).returning(_C.bytes))

        size = await self._database.write("delete", work)
        if size is None:
            return False
        self._room.add(-size)
        self._metrics.deleted(_KIND, "asked")
        return True

    async def messages(
        self, owner: str, completion_id: str, cut: Cut, after: int | None
    ) -> Page[tuple[int, str]] | None:
        """A page of the messages of one of an owner's completions; None where there is none.

        Args:
            owner: of the completion.
            completion_id: its name.
            cut: which part; its `after` is not read.
            after: place of the message before the first one.

        Raises:
            StoreUnavailableError: the store does not answer.
            UnknownCursorError: there is no message at `after`.
        """

        async def work(connection: AsyncConnection) -> Page[tuple[int, str]] | None:
            m = messages.c
            found = select(_C.sequence).where(*self._one(owner, completion_id))
            sequence = await connection.scalar(found)
            if sequence is None:
                return None
            own = select(m.place, m.body).where(m.completion == sequence)
            if after is not None:
                if (await connection.execute(own.where(m.place == after))).first() is None:
                    raise UnknownCursorError
                own = own.where(m.place < after if cut.newest_first else m.place > after)
            order = m.place.desc() if cut.newest_first else m.place
            rows = (await connection.execute(own.order_by(order).limit(cut.limit + 1))).all()
            entries = [(row.place, row.body) for row in rows[: cut.limit]]
            return Page(entries, len(rows) > cut.limit)

        return await self._database.read("messages", work)

    def _there(self) -> tuple[ColumnElement[bool], ...]:
        return _C.answer.is_not(None), _C.created > int(time.time()) - self._keep_seconds

    def _one(self, owner: str, completion_id: str) -> tuple[ColumnElement[bool], ...]:
        return _C.id == completion_id, _C.owner == owner, *self._there()


_STORED = (_C.id, _C.metadata, _C.fields, _C.answer)


def _stored(row: object) -> StoredCompletion:
    return StoredCompletion(**{c.name: getattr(row, c.name) for c in _STORED})


def _json(metadata: Mapping[str, str]) -> str:
    return json.dumps(metadata, separators=(",", ":"))


async def _label(
    connection: AsyncConnection, sequence: int | None, pairs: Mapping[str, str]
) -> None:
    if pairs:
        rows = [{"completion": sequence, "key": key, "value": pairs[key]} for key in pairs]
        await connection.execute(insert(labels), rows)


def _conditions(chosen: CompletionFilter) -> list[ColumnElement[bool]]:
    conditions = [] if chosen.model is None else [_C.model == chosen.model]
    return conditions + [
        exists().where(
            labels.c.completion == _C.sequence, labels.c.key == key, labels.c.value == value
        )
        for key, value in chosen.metadata.items()
    ]
