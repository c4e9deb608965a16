"""Who is next, and who is refused when the room is full."""

import asyncio

import pytest

from serve.api.asking.waiting_room import WaitingRoom
from serve.api.wire.errors import ApiError

MANY = 1_000_000
LARGE = 1_000


async def queued(room: WaitingRoom, *bodies: tuple[str, int]) -> list[asyncio.Task[None]]:
    tasks = [
        asyncio.create_task(room.take(caller, size, large=size == LARGE)) for caller, size in bodies
    ]
    await asyncio.sleep(0)
    return tasks


def order_of(tasks: list[asyncio.Task[None]], done: list[int]) -> None:
    done += [n for n, task in enumerate(tasks) if task.done() and n not in done]


async def served(room: WaitingRoom, tasks: list[asyncio.Task[None]]) -> list[int]:
    """The tasks in the order in which they get the one place."""
    order: list[int] = []
    for _ in tasks:
        room.release(large=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        order_of(tasks, order)
    return order


async def test_callers_take_turns() -> None:
    room = WaitingRoom(1, MANY)
    await room.take("a", 1, large=False)
    bodies = [("a", 9), ("a", 9), ("a", 9), ("b", 1), ("c", 1), ("c", 1)]
    assert await served(room, await queued(room, *bodies)) == [0, 3, 4, 1, 5, 2]


async def test_there_are_so_many_places() -> None:
    room = WaitingRoom(2, MANY)
    first = await queued(room, ("a", 1), ("a", 1), ("a", 1))
    assert [task.done() for task in first] == [True, True, False]
    room.release(large=False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert first[2].done()


async def test_whoever_leaves_gives_the_turn_on() -> None:
    room = WaitingRoom(1, MANY)
    await room.take("a", 1, large=False)
    tasks = await queued(room, ("a", 1), ("b", 1), ("c", 1))
    tasks[0].cancel()
    await asyncio.sleep(0)
    # The place is given, and its owner leaves before noticing.
    room.release(large=False)
    tasks[1].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tasks[2].done()
    assert not tasks[2].cancelled()


async def test_a_cancelled_wait_that_is_next_is_passed_over() -> None:
    room = WaitingRoom(1, MANY)
    await room.take("a", 1, large=False)
    tasks = await queued(room, ("a", 1), ("b", 1))
    tasks[0].cancel()
    room.release(large=False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tasks[1].done()


async def test_whoever_has_most_in_a_full_room_is_refused() -> None:
    room = WaitingRoom(1, 1_000)
    await room.take("a", 1, large=False)
    tasks = await queued(room, ("a", 300), ("a", 300), ("a", 300), ("a", 300))
    with pytest.raises(ApiError, match="too many long requests wait") as told:
        await tasks[3]
    assert (told.value.status, told.value.code) == (429, "queue_full")
    assert told.value.headers["Retry-After"]
    (other,) = await queued(room, ("b", 300))
    await asyncio.sleep(0)
    assert not other.done()
    with pytest.raises(ApiError, match="too many long requests wait"):
        await tasks[2]
    assert await served(room, [tasks[0], tasks[1], other]) == [0, 2, 1]


async def test_as_many_are_refused_as_make_room() -> None:
    room = WaitingRoom(1, 1_000)
    await room.take("a", 1, large=False)
    tasks = await queued(room, *[("a", 200)] * 5)
    # Two of them, for one that is as long as both.
    (other,) = await queued(room, ("b", 400))
    await asyncio.sleep(0)
    assert [task.done() for task in (*tasks, other)] == [False, False, False, True, True, False]
    assert all(isinstance(task.exception(), ApiError) for task in tasks[3:])
    # With this one its caller would have as much as any other.
    (third,) = await queued(room, ("b", 200))
    assert third.done()
    assert isinstance(third.exception(), ApiError)
    assert await served(room, [*tasks[:3], other]) == [0, 3, 1, 2]


async def test_one_small_body_takes_a_part_of_the_room_all_the_same() -> None:
    room = WaitingRoom(1, 512_000)
    await room.take("a", 1, large=False)
    tasks = await queued(room, *[("a", 1)] * 513)
    await asyncio.sleep(0)
    assert sum(task.done() for task in tasks) == 1
    assert tasks[-1].exception() is not None
    for task in tasks[:-1]:
        task.cancel()
    await asyncio.gather(*tasks[:-1], return_exceptions=True)


async def test_large_ones_leave_a_place_to_the_others() -> None:
    room = WaitingRoom(2, MANY)
    greedy = await queued(room, ("a", LARGE), ("a", LARGE), ("b", LARGE))
    assert [task.done() for task in greedy] == [True, False, False]
    short = await queued(room, ("a", 9), ("c", 1), ("a", 1))
    assert [task.done() for task in short] == [True, False, False]
    # The place of a short one is for another, also of a caller whose long ones wait.
    room.release(large=False)
    await asyncio.sleep(0)
    assert [task.done() for task in (*greedy, *short)] == [True, False, False, True, False, True]
    room.release(large=True)
    await asyncio.sleep(0)
    assert [task.done() for task in greedy] == [True, False, True]
    room.release(large=True)
    room.release(large=False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all(task.done() for task in (*greedy, *short))
