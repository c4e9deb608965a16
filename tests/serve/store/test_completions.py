import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from serve.store import completions as module
from serve.store.errors import StoreFullError, StoreUnavailableError, UnknownCursorError
from serve.store.kept import Asked, CompletionFilter, Cut
from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings

NOW = int(time.time())
ANY = CompletionFilter()


def asked(name: str, **fields: Any) -> Asked:
    usual = Asked(name, "one", NOW, "tiny", {}, '{"seed":1}', ['{"role":"user"}'])
    return replace(usual, **fields)


async def keep(store: Store, name: str, created: int = NOW, **fields: Any) -> None:
    await store.completions.reserve(asked(name, created=created, **fields))
    await store.completions.finish(name, created, f'{{"id":"{name}"}}')


async def ids(
    store: Store, cut: Cut, owner: str = "one", chosen: Any = ANY
) -> tuple[list[str], bool]:
    page = await store.completions.list(owner, cut, chosen)
    return [entry.id for entry in page.entries], page.has_more


async def test_a_reservation_is_seen_by_nobody_until_it_is_finished(store: Store) -> None:
    await store.completions.reserve(asked("a", metadata={"k": "é"}))
    assert await ids(store, Cut(9)) == ([], False)
    assert await store.completions.get("one", "a") is None
    assert not await store.completions.delete("one", "a")
    assert await store.completions.messages("one", "a", Cut(9), None) is None
    await store.completions.finish("a", NOW, '{"id":"a"}')
    kept = await store.completions.get("one", "a")
    assert kept is not None
    assert (kept.answer, kept.fields) == ('{"id":"a"}', '{"seed":1}')
    assert json.loads(kept.metadata) == {"k": "é"}
    with pytest.raises(StoreUnavailableError):
        await store.completions.finish("a", NOW, "again")


async def test_a_released_reservation_cannot_be_finished(store: Store) -> None:
    await store.completions.reserve(asked("a"))
    await store.completions.release("a")
    with pytest.raises(StoreUnavailableError, match="no longer there"):
        await store.completions.finish("a", NOW, "{}")
    await keep(store, "b")
    await store.completions.release("b")
    assert await ids(store, Cut(9)) == (["b"], False)


async def test_the_order_is_that_of_time_then_of_arrival(store: Store) -> None:
    for name, created in (("c", NOW), ("d", NOW), ("a", NOW - 9), ("b", NOW - 5)):
        await keep(store, name, created)
    assert await ids(store, Cut(9)) == (["a", "b", "c", "d"], False)
    assert await ids(store, Cut(2)) == (["a", "b"], True)
    assert await ids(store, Cut(2, "b")) == (["c", "d"], False)
    assert await ids(store, Cut(3, newest_first=True)) == (["d", "c", "b"], True)
    assert await ids(store, Cut(3, "b", newest_first=True)) == (["a"], False)


async def test_pages_stay_right_while_rows_come_and_go(store: Store) -> None:
    for number in range(9):
        await keep(store, f"k{number}", NOW - 100 + number)
    seen, after = list[str](), None
    while True:
        page, has_more = await ids(store, Cut(2, after))
        seen += page
        if not has_more:
            break
        after = page[-1]
        # The cursor's own row goes, one before it comes.
        assert await store.completions.delete("one", after)
        await keep(store, f"early{after}", NOW - 200)
    assert seen == [f"k{number}" for number in range(9)]


async def test_an_unknown_cursor_and_another_owners_are_the_same(store: Store) -> None:
    await keep(store, "a")
    await keep(store, "b", owner="two")
    for after in ("b", "nothing"):
        with pytest.raises(UnknownCursorError):
            await ids(store, Cut(9, after))
    await store.completions.delete("two", "b")
    with pytest.raises(UnknownCursorError):
        await ids(store, Cut(9, "b"))


async def test_owners_see_nothing_of_each_other(store: Store) -> None:
    await keep(store, "a")
    assert await ids(store, Cut(9), "two") == ([], False)
    assert await store.completions.get("two", "a") is None
    assert await store.completions.relabel("two", "a", {}) is None
    assert not await store.completions.delete("two", "a")
    assert await store.completions.messages("two", "a", Cut(9), None) is None
    assert await ids(store, Cut(9)) == (["a"], False)


async def test_filters(store: Store) -> None:
    strange = {"q\"'[]\0": 'v\0"$.*', "é": ""}
    await keep(store, "a", metadata={"k": "1", "j": "2"})
    await keep(store, "b", metadata={"k": "1"}, model="other")
    await keep(store, "c", metadata=strange)
    for metadata, model, found in (
        ({"k": "1"}, None, ["a", "b"]),
        ({"k": "1", "j": "2"}, None, ["a"]),
        ({"k": "1"}, "other", ["b"]),
        ({}, "tiny", ["a", "c"]),
        ({"k": "2"}, None, []),
        (strange, None, ["c"]),
    ):
        assert await ids(store, Cut(9), chosen=CompletionFilter(model, metadata)) == (found, False)


async def test_metadata_is_replaced_where_it_is_shown_and_where_it_is_found(store: Store) -> None:
    await keep(store, "a", metadata={"k": "1", "old": "1"})
    changed = await store.completions.relabel("one", "a", {"k": "2"})
    assert changed is not None
    assert json.loads(changed.metadata) == {"k": "2"}
    kept = await store.completions.get("one", "a")
    assert kept is not None
    assert json.loads(kept.metadata) == {"k": "2"}
    for metadata, found in (({"k": "2"}, ["a"]), ({"k": "1"}, []), ({"old": "1"}, [])):
        assert await ids(store, Cut(9), chosen=CompletionFilter(None, metadata)) == (found, False)


async def test_messages_by_page(store: Store) -> None:
    await keep(store, "a", messages=[str(n) for n in range(5)])

    async def page(limit: int, after: int | None, newest_first: bool = False) -> Any:
        cut = Cut(limit, newest_first=newest_first)
        found = await store.completions.messages("one", "a", cut, after)
        assert found is not None
        return list(found.entries), found.has_more

    assert await page(2, None) == ([(0, "0"), (1, "1")], True)
    assert await page(9, 1) == ([(2, "2"), (3, "3"), (4, "4")], False)
    assert await page(2, 2, True) == ([(1, "1"), (0, "0")], False)
    with pytest.raises(UnknownCursorError):
        await page(9, 5)


async def test_a_page_of_large_answers_is_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 100)
    for name in "abc":
        await keep(store, name, fields="x" * 45)
    assert await ids(store, Cut(9)) == (["a"], True)
    assert await ids(store, Cut(9, "a")) == (["b"], True)
    monkeypatch.setattr(module, "PAGE_BYTES", 1)
    assert await ids(store, Cut(9, "b")) == (["c"], False)


async def test_what_is_too_old_is_not_there_and_is_swept(store: Store) -> None:
    day = 86_400
    await keep(store, "old", NOW - 30 * day)
    await keep(store, "young", NOW - 30 * day + 3_600)
    assert await ids(store, Cut(9)) == (["young"], False)
    assert await store.completions.get("one", "old") is None
    await store.completions.reserve(asked("stale", created=NOW - day))
    await store.completions.reserve(asked("running", created=NOW - day + 3_600))
    await store.sweep()
    with pytest.raises(StoreUnavailableError):
        await store.completions.finish("stale", NOW, "{}")
    await store.completions.finish("running", NOW, "{}")
    assert await ids(store, Cut(9, "old")) == (["young", "running"], False)


async def test_the_bound_refuses_and_a_deletion_makes_room(place: str) -> None:
    store = Store(StoreSettings(place, most_bytes=100), StoreMetrics())
    await keep(store, "a", fields="x" * 60)
    with pytest.raises(StoreFullError):
        await store.completions.reserve(asked("b", fields="x" * 60))
    await store.completions.delete("one", "a")
    await store.completions.reserve(asked("b", fields="x" * 60))
    await store.completions.release("b")
    await keep(store, "b", fields="x" * 60)
    await store.close()
    # Another server on the same store learns what is there by counting.
    other = Store(StoreSettings(place, most_bytes=100), StoreMetrics())
    await other.sweep()
    with pytest.raises(StoreFullError):
        await other.completions.reserve(asked("c", fields="x" * 60))
    await other.close()


async def test_many_at_once(store: Store) -> None:
    await asyncio.gather(*(keep(store, f"k{n:03}") for n in range(200)))
    page, has_more = await ids(store, Cut(200))
    assert sorted(page) == [f"k{n:03}" for n in range(200)]
    assert not has_more


async def test_one_who_leaves_amid_a_transaction_breaks_none(store: Store) -> None:
    for number in range(40):
        task = asyncio.create_task(keep(store, f"k{number}"))
        await asyncio.sleep(0.0005 * (number % 10))
        task.cancel()
    await keep(store, "last")
    page, _ = await ids(store, Cut(99))
    assert "last" in page
