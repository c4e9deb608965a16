"""Requests with pictures and files take turns, and only so many wait."""

import asyncio
from typing import Any, cast

import pytest

from serve.api.asking.media import AskedMedia
from serve.api.asking.media_gatherer import PLACES, MediaGatherer
from serve.api.asking.waiting_room import MOST_WAITING_BODIES
from serve.api.wire.errors import ApiError
from serve.api.wire.media import ImagePart, ImageUrl

MOST_BYTES = 100


class Held:
    """Works at pictures until it is let go."""

    def __init__(self) -> None:
        self.at_work = 0
        self.go_on = asyncio.Event()

    async def gather(self, parts: list[object], most_tokens: int) -> list[list[object]]:
        self.at_work += 1
        await self.go_on.wait()
        return [[] for _ in parts]


async def test_whoever_has_most_waiting_is_refused_and_others_have_their_turn() -> None:
    held = Held()
    gatherer = MediaGatherer.of(cast("Any", held), cast("Any", None), None, 64, MOST_BYTES)
    url = ImageUrl(url="x" * MOST_BYTES)
    part = AskedMedia("p", ImagePart(type="image_url", image_url=url))

    def ask(caller: str) -> asyncio.Task[Any]:
        return asyncio.create_task(gatherer.gather([part], "", caller))

    many = [ask("many") for _ in range(PLACES + MOST_WAITING_BODIES)]
    await asyncio.sleep(0)
    assert held.at_work == PLACES
    with pytest.raises(ApiError) as refused:
        await ask("many")
    assert (refused.value.status, refused.value.code) == (429, "queue_full")
    other = ask("other")
    with pytest.raises(ApiError):
        await many[-1]
    # Whoever leaves makes room for the next.
    many[0].cancel()
    await asyncio.wait([many[0]])
    held.go_on.set()
    assert (await other).images == []
    assert [each.images for each in await asyncio.gather(*many[1:-1])] == [[]] * (len(many) - 2)
