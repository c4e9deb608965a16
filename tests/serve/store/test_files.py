import os
import time
from pathlib import Path
from typing import Any

import pytest

from serve.store.blobs import CHUNK_BYTES
from serve.store.errors import OwnerFullError, StoreFullError, UnknownCursorError
from serve.store.kept import Cut, StoredFile
from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings

NOW = int(time.time())


async def upload(
    store: Store, name: str, content: bytes, owner: str = "one", **fields: Any
) -> StoredFile:
    told = {"expires": None, "purpose": "user_data", "filename": "ü\0.txt", "created": NOW}
    file = StoredFile(name, size=len(content), **{**told, **fields})
    async with store.files.receiving(len(content)) as spool:
        await spool.write(content[:3])
        await spool.write(content[3:])
        assert spool.size == len(content)
        await store.files.keep(owner, file, spool)
    return file


async def content(store: Store, name: str) -> bytes:
    return b"".join([data async for data in store.files.content(name)])


async def ids(store: Store, cut: Cut, purpose: str | None = None, owner: str = "one") -> Any:
    page = await store.files.list(owner, cut, purpose)
    return [entry.id for entry in page.entries], page.has_more


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
async def test_what_was_uploaded_comes_back(store: Store, size: int) -> None:
    sent = bytes(n % 251 for n in range(size))
    file = await upload(store, "a", sent)
    assert await store.files.get("one", "a") == file
    assert await content(store, "a") == sent


async def test_lists_and_deletions(store: Store) -> None:
    for number in range(3):
        await upload(store, f"f{number}", b"x", created=NOW - 9 + number)
    await upload(store, "vision", b"x", purpose="vision")
    assert await ids(store, Cut(9)) == (["f0", "f1", "f2", "vision"], False)
    assert await ids(store, Cut(2, newest_first=True)) == (["vision", "f2"], True)
    assert await ids(store, Cut(9), "vision") == (["vision"], False)
    assert await store.files.delete("one", "f1")
    assert not await store.files.delete("one", "f1")
    assert await store.files.get("one", "f1") is None
    assert await content(store, "f0") == b"x"
    assert await ids(store, Cut(9, "f1")) == (["f2", "vision"], False)


async def test_a_page_has_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.store.files.PAGE_FILES", 2)
    for number in range(3):
        await upload(store, f"f{number}", b"x")
    assert await ids(store, Cut(10_000)) == (["f0", "f1"], True)
    assert await ids(store, Cut(10_000, "f1")) == (["f2"], False)


async def test_owners_see_nothing_of_each_other(store: Store) -> None:
    await upload(store, "a", b"x")
    assert await store.files.get("two", "a") is None
    assert not await store.files.delete("two", "a")
    assert await ids(store, Cut(9), owner="two") == ([], False)
    with pytest.raises(UnknownCursorError):
        await ids(store, Cut(9, "a"), owner="two")
    assert await content(store, "a") == b"x"


async def test_what_one_owner_and_all_may_have(place: str) -> None:
    store = Store(StoreSettings(place, most_owner_bytes=10, most_bytes=25), StoreMetrics())
    await upload(store, "a", b"x" * 10)
    with pytest.raises(OwnerFullError):
        await upload(store, "b", b"x")
    await upload(store, "b", b"x" * 10, owner="two")
    with pytest.raises(StoreFullError):
        await upload(store, "c", b"x" * 6, owner="three")
    await store.files.delete("one", "a")
    await upload(store, "c", b"x" * 6, owner="three")
    assert await ids(store, Cut(9), owner="one") == ([], False)
    await store.close()


async def test_expired_files_are_not_there_and_are_swept(store: Store) -> None:
    await upload(store, "old", b"x", expires=NOW - 1)
    await upload(store, "young", b"y", expires=NOW + 3_600)
    assert await store.files.get("one", "old") is None
    assert await ids(store, Cut(9)) == (["young"], False)
    await store.sweep()
    assert await content(store, "young") == b"y"


async def test_a_sweep_removes_what_no_row_names(tmp_path: Path) -> None:
    store = Store(StoreSettings(str(tmp_path / "s.sqlite")), StoreMetrics())
    await upload(store, "named", b"x")
    await upload(store, "gone", b"x", expires=NOW - 1)
    directory = tmp_path / "s.sqlite.files"
    for name in ("file-of-nobody", "upload-cut-off", "upload-running"):
        (directory / name).write_bytes(b"x")
    hours_ago = time.time() - 2 * 3600
    for path in directory.iterdir():
        if path.name != "upload-running":
            os.utime(path, (hours_ago, hours_ago))
    await store.sweep()
    assert {path.name for path in directory.iterdir()} == {"named", "upload-running"}
    await store.close()


async def test_an_upload_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    store = Store(StoreSettings(str(tmp_path / "s.sqlite")), StoreMetrics())
    async with store.files.receiving(9) as spool:
        await spool.write(b"half of it")
    assert not list((tmp_path / "s.sqlite.files").iterdir())
    await store.close()
