import asyncio
import logging
import os
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import update
from support.waiting import until

from serve.api.settings import ApiSettings
from serve.app import check_settings
from serve.store.errors import StoreStartError, StoreUnavailableError
from serve.store.kept import Asked, CompletionFilter, Cut
from serve.store.metrics import StoreMetrics
from serve.store.place import place_of
from serve.store.store import Store, StoreSettings
from serve.store.tables import STEPS, version


def asked(name: str, size: int = 1) -> Asked:
    return Asked(name, "", 2_000_000_000, "tiny", {}, "{}", ["x" * size])


async def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    store = Store(StoreSettings(str(tmp_path / "a" / "b.sqlite")), StoreMetrics())
    await store.start()
    await store.check()
    assert not (tmp_path / "a").exists()
    await store.completions.reserve(asked("a"))
    assert (tmp_path / "a" / "b.sqlite").exists()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()}
    assert modes == {0o600}
    await store.close()


async def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    store = Store(StoreSettings(str(file)), StoreMetrics())
    pragmas = ("journal_mode", "synchronous", "foreign_keys")

    async def work(connection: object) -> list[object]:
        return [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()  # type: ignore[attr-defined]
            for name in pragmas
        ]

    full = 2
    assert await store._database.write("look", work) == ["wal", full, 1]
    await store.close()


async def test_a_newer_store_ends_the_start_in_one_sentence(place: str) -> None:
    store = Store(StoreSettings(place), StoreMetrics())

    async def age(connection: object) -> None:
        await connection.execute(update(version).values(number=len(STEPS) + 1))  # type: ignore[attr-defined]

    await store._database.write("age", age)
    await store.close()
    with pytest.raises(StoreStartError, match=r"^the store has version 3 and .* or give another"):
        await Store(StoreSettings(place), StoreMetrics()).check()


def test_the_check_needs_no_loop(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    file.write_bytes(b"")
    check_settings(ApiSettings(model_id="tiny", store=str(file)))
    check_settings(ApiSettings(model_id="tiny", store="off"))
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT number FROM version").fetchall() == [(2,)]


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("mysql://somewhere/x", "begins with mysql://; give a file"),
        ("postgresql://user:secret@host:port/x", "give one like postgresql://"),
    ],
)
def test_places_that_cannot_be(store: str, words: str) -> None:
    with pytest.raises(StoreStartError, match=words) as refused:
        place_of(store)
    assert "secret" not in str(refused.value)


def test_a_password_is_not_shown() -> None:
    place = place_of("postgresql://user:secret@host/x")
    assert place.shown == "postgresql://user:***@host/x"
    assert "secret" in place.url


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "serve.store.postgres", raising=False)
    monkeypatch.delattr("serve.store.postgres", raising=False)
    with pytest.raises(StoreStartError, match=r"needs the extra postgres: .*\.\[postgres\]"):
        Store(StoreSettings("postgresql://host/x"), StoreMetrics())


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Nothing can be written there; root may write anywhere, and is somebody else meanwhile."""
    was = os.geteuid()
    directory.chmod(0o555)
    if not was:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)
        directory.chmod(0o755)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that others may enter."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


async def test_a_read_only_directory(public: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "serve.store")
    store = Store(StoreSettings(str(public / "s.sqlite")), StoreMetrics())
    with read_only(public), pytest.raises(StoreUnavailableError):
        await store.completions.reserve(asked("a"))
    assert "reserve failed" in caplog.text
    await store.completions.reserve(asked("a"))
    await store.close()


async def test_a_file_that_is_read_only(public: Path) -> None:
    file = public / "s.sqlite"
    store = Store(StoreSettings(str(file)), StoreMetrics())
    await store.completions.reserve(asked("a"))
    await store.close()
    with read_only(public), pytest.raises(StoreUnavailableError):
        await store.completions.reserve(asked("b"))
    await store.close()


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    store = Store(StoreSettings(str(tmp_path / "s.sqlite")), StoreMetrics(registry))
    await store.completions.reserve(asked("a"))
    await store.completions.finish("a", 2_000_000_000, '{"id":"a"}')
    # A write beyond the limit fails as one on a full disk does, and is no end of the process.
    was, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, was[1]))
    try:
        with pytest.raises(StoreUnavailableError):
            await store.completions.reserve(asked("b", 2_000_000))
        async with store.files.receiving(1) as spool:
            await spool.write(b"x" * 100_000)
            with pytest.raises(StoreUnavailableError):
                await spool.write(b"x" * 1_000_000)
        page = await store.completions.list("", Cut(9), CompletionFilter())
        assert [entry.id for entry in page.entries] == ["a"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, handler)
    await store.completions.reserve(asked("b", 2_000_000))
    assert not list((tmp_path / "s.sqlite.files").iterdir())
    assert b'parlance_store_failures_total{operation="reserve"} 1.0' in generate_latest(registry)
    await store.close()


async def test_what_is_counted(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    store = Store(StoreSettings(str(tmp_path / "s.sqlite")), StoreMetrics(registry))
    for name in "ab":
        await store.completions.reserve(asked(name))
        await store.completions.finish(name, 2_000_000_000, "12345")
    await store.completions.delete("", "a")
    text = generate_latest(registry).decode()
    assert 'parlance_store_stored_total{kind="completion"} 2.0' in text
    assert 'parlance_store_deleted_total{kind="completion",why="asked"} 1.0' in text
    assert "parlance_store_bytes 8.0" in text  # of fields 2, of the message 1, of the answer 5
    assert 'parlance_store_seconds_count{operation="finish"} 2.0' in text
    await store.close()


async def test_it_is_swept_by_itself(place: str) -> None:
    registry = CollectorRegistry()
    store = Store(StoreSettings(place, sweep_seconds=0.01), StoreMetrics(registry))
    await store.completions.reserve(asked("old"))
    await store.completions.finish("old", 1, "{}")
    await store.start()
    deleted = b'parlance_store_deleted_total{kind="completion",why="expired"} 1.0'
    await until(lambda: deleted in generate_latest(registry))
    await store.close()


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_several_servers_start_and_sweep_one_database(place: str) -> None:
    stores = [Store(StoreSettings(place), StoreMetrics()) for _ in range(4)]
    await asyncio.gather(*(store.check() for store in stores))
    for number in range(20):
        await stores[0].completions.reserve(asked(f"k{number}"))
        created = 1 if number % 2 else 2_000_000_000
        await stores[number % 4].completions.finish(f"k{number}", created, "{}")
    await asyncio.gather(*(store.sweep() for store in stores))
    for store in stores:
        page = await store.completions.list("", Cut(99), CompletionFilter())
        assert [entry.id for entry in page.entries] == [f"k{n}" for n in range(0, 20, 2)]
        await store.close()


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_a_database_that_is_gone_and_comes_back(place: str, database_server: object) -> None:
    store = Store(StoreSettings(place), StoreMetrics())
    await store.completions.reserve(asked("a"))
    database_server.stop()  # type: ignore[attr-defined]
    try:
        with pytest.raises(StoreUnavailableError):
            await store.completions.reserve(asked("b"))
        await Store(StoreSettings(place), StoreMetrics()).check()
    finally:
        database_server.start()  # type: ignore[attr-defined]
    await store.completions.finish("a", 2_000_000_000, "{}")
    await store.close()
