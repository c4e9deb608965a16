"""Where a body is read: on the event loop if that is quick, else in a process."""

import asyncio
import json
from typing import Any, cast

import pytest

from serve.api.asking.content_coding import Body
from serve.api.asking.draft import Prepared
from serve.api.asking.prepare import MOST_CONTAINERS_HERE, Preparer
from serve.api.asking.reasoning import UNASKED
from serve.api.settings import ApiSettings
from serve.engine.types import GenerationRequest

SETTINGS = ApiSettings("tiny")


class Reader:
    """Stands for the drafter and for the pool: notes what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[object, ...]] = []

    def _prepared(self, *given: object) -> Prepared:
        self.given.append(given)
        submission = GenerationRequest(str(given[1]), [1], cast("Any", None), 1)
        return Prepared(cast("Any", None), submission, None, None)


class Here(Reader):
    def draft(self, body: Body, completion_id: str) -> Prepared:
        return self._prepared(body, completion_id)


class There(Reader):
    async def draft(self, body: Body, completion_id: str, caller: str) -> Prepared:
        return self._prepared(body, completion_id, caller)


class Unconstrained:
    async def compiled(
        self, form: object, tools: object, bad_words: object, thoughts: object
    ) -> None:
        assert (form, tools, bad_words, thoughts) == (None, None, (), UNASKED)


def preparer() -> tuple[Preparer, Here, There]:
    here, there = Here(), There()
    parts = cast("Any", (here, there, Unconstrained(), SETTINGS, lambda _: None))
    return Preparer(*parts), here, there


def messages(count: int) -> Body:
    asked = {"model": "m", "messages": [{"role": "user", "content": ""}] * count}
    return Body(json.dumps(asked).encode())


@pytest.mark.parametrize(
    ("body", "is_short"),
    [
        (Body(b"x" * SETTINGS.process_body_bytes), True),
        (Body(b"x" * (SETTINGS.process_body_bytes + 1)), False),
        # It may unfold to anything.
        (Body(b"x", ("gzip",)), False),
        # The body and the array of messages are containers too.
        (messages(MOST_CONTAINERS_HERE - 2), True),
        (messages(MOST_CONTAINERS_HERE - 1), False),
    ],
)
async def test_what_takes_more_than_two_milliseconds_is_read_elsewhere(
    body: Body, is_short: bool
) -> None:
    prepares, here, there = preparer()
    prepared = await prepares.prepare(body, "chatcmpl-1", "me")
    assert prepared.submission.id == "chatcmpl-1"
    assert here.given == ([(body, "chatcmpl-1")] if is_short else [])
    assert there.given == ([] if is_short else [(body, "chatcmpl-1", "me")])


async def test_between_two_short_bodies_the_event_loop_sees_to_the_streams() -> None:
    prepares, here, _ = preparer()
    seen: list[int] = []

    async def stream() -> None:
        while len(here.given) < 5:
            seen.append(len(here.given))
            await asyncio.sleep(0)

    streaming = asyncio.create_task(stream())
    await asyncio.gather(*(prepares.prepare(Body(b"{}"), str(n), "") for n in range(5)))
    await streaming
    assert len(set(seen)) >= 4
