"""Where a body is read: on the event loop if that is quick, else in a process."""

import asyncio
import json
from typing import Any, cast

import numpy as np
import pytest

from serve.api.asking.content_coding import Body
from serve.api.asking.draft import Prepared
from serve.api.asking.media import AskedMedia, Shown
from serve.api.asking.prepare import MOST_CONTAINERS_HERE, Preparer
from serve.api.asking.reasoning import UNASKED
from serve.api.asking.wanted import Gathered, Wanted
from serve.api.settings import ApiSettings
from serve.api.wire.media import FileContent, FilePart
from serve.engine.types import GenerationRequest
from serve.media.patching import PatchedImage

SETTINGS = ApiSettings("tiny")


class Reader:
    """Stands for the drafter and for the pool: notes what it is given."""

    def __init__(self, *parts: AskedMedia) -> None:
        self.given: list[tuple[object, ...]] = []
        self._parts = parts

    def _drafted(self, shown: Shown | None, *given: object) -> Prepared | Wanted:
        self.given.append(given)
        if self._parts and shown is None:
            return Wanted(self._parts)
        submission = GenerationRequest(str(given[1]), [1], cast("Any", None), 1)
        starts = [3] if self._parts else []
        return Prepared(cast("Any", None), submission, None, None, picture_starts=starts)


class Here(Reader):
    def draft(self, body: Body, completion_id: str, shown: Shown | None) -> Any:
        return self._drafted(shown, body, completion_id)


class There(Reader):
    async def draft(self, body: Body, completion_id: str, caller: str, shown: Shown | None) -> Any:
        return self._drafted(shown, body, completion_id, caller)


class Unconstrained:
    async def compiled(
        self, form: object, tools: object, bad_words: object, thoughts: object
    ) -> None:
        assert (form, tools, bad_words, thoughts) == (None, None, (), UNASKED)


class Gatherer:
    """Makes of every request a text of so many characters, and a picture."""

    def __init__(self, characters: int) -> None:
        self.image = PatchedImage.of(np.zeros((4, 3), np.uint8), (2, 2), 1)
        self.characters = characters
        self.asked: list[tuple[object, ...]] = []

    async def gather(self, *asked: object) -> Gathered:
        self.asked.append(asked)
        return Gathered({"p": ["x" * self.characters, (1,)]}, [self.image])


def preparer(*parts: AskedMedia, gatherer: Gatherer | None = None) -> tuple[Preparer, Here, There]:
    here, there = Here(*parts), There(*parts)
    made = cast("Any", (here, there, Unconstrained(), SETTINGS, lambda _: None, None, gatherer))
    return Preparer(*made), here, there


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


@pytest.mark.parametrize(("characters", "where"), [(100, 2), (5_000, 1)])
async def test_pictures_and_files_are_read_between_two_drafts(characters: int, where: int) -> None:
    part = AskedMedia("p", FilePart(type="file", file=FileContent(file_data="aGk=")))
    gatherer = Gatherer(characters)
    prepares, here, there = preparer(part, gatherer=gatherer)
    prepared = await prepares.prepare(messages(1), "c", "me", "key")
    # A long text of a file is cut into tokens elsewhere, whatever the body's length.
    assert (len(here.given), len(there.given)) == (where, 2 - where)
    assert gatherer.asked == [(Wanted((part,)), "key", "me")]
    [image] = prepared.submission.images
    assert (image.start, image.tokens, image.grid) == (3, 1, (2, 2))
    assert image.digest == gatherer.image.digest
