"""The tables, and the steps that bring those of an older server up to date.

Small columns stand before large ones: a list reads past those.
"""

import json
from collections.abc import Awaitable, Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.errors import StoreStartError


class Quoted(TypeDecorator[str]):
    """Any text, as JSON in ASCII: PostgreSQL takes no character 0."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """As the database has it."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """As it was given."""
        return None if value is None else json.loads(value)


# SQLite numbers rows by themselves only in this type.
_Sequence = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

version = Table("version", metadata, Column("number", Integer, nullable=False))

# Without an answer a row is a reservation, which nobody sees.
completions = Table(
    "completions",
    metadata,
    Column("sequence", _Sequence, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("model", Quoted, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("answer", Text),
    sqlite_autoincrement=True,
)
Index(
    "completions_in_order",
    completions.c.owner,
    completions.c.created,
    completions.c.sequence,
)
Index("completions_by_age", completions.c.created)

messages = Table(
    "messages",
    metadata,
    Column(
        "completion",
        ForeignKey(completions.c.sequence, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("place", Integer, primary_key=True),
    Column("body", Text, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column(
        "completion",
        ForeignKey(completions.c.sequence, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("key", Quoted, primary_key=True),
    Column("value", Quoted, nullable=False),
)
Index("labels_by_value", labels.c.key, labels.c.value, labels.c.completion)

files = Table(
    "files",
    metadata,
    Column("sequence", _Sequence, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("bytes", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("filename", Quoted, nullable=False),
    sqlite_autoincrement=True,
)
Index("files_in_order", files.c.owner, files.c.created, files.c.sequence)
Index("files_by_age", files.c.expires)

# Contents of files, where they are not on the disk of one server.
chunks = Table(
    "chunks",
    metadata,
    Column("file", Text, ForeignKey(files.c.id, ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

# What answers that were spoken say.
spoken = Table(
    "spoken",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("transcript", Quoted, nullable=False),
)
Index("spoken_by_age", spoken.c.expires)

# Where in the order something was that is no longer there: whoever lists goes on after it.
gone = Table(
    "gone",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("deleted", BigInteger, nullable=False),
)
Index("gone_by_age", gone.c.deleted)


async def _create(connection: AsyncConnection) -> None:
    """The tables that are not there."""
    await connection.run_sync(metadata.create_all)


# The step at place N makes version N + 1 of version N.
STEPS: tuple[Callable[[AsyncConnection], Awaitable[None]], ...] = (_create, _create)


async def migrate(connection: AsyncConnection) -> None:
    """Bring the tables up to date, in the transaction of `connection`.

    Raises:
        StoreStartError: a newer server has made them.
    """
    await connection.run_sync(version.create, checkfirst=True)
    found: int = (await connection.scalar(select(version.c.number))) or 0
    if found > len(STEPS):
        raise StoreStartError(
            f"the store has version {found} and this server knows {len(STEPS)} at most: start a "
            f"newer server, or give another --store"
        )
    if found == len(STEPS):
        return
    for step in STEPS[found:]:
        await step(connection)
    change = update(version) if found else insert(version)
    await connection.execute(change.values(number=len(STEPS)))
