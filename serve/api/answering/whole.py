"""An answer told at once, when all of its choices have ended.

Knows nothing of HTTP.
"""

import asyncio
from collections.abc import AsyncIterator

from serve.api.answering.collected import Collected
from serve.api.answering.failures import constraint_failed, unavailable
from serve.api.answering.run import Run
from serve.api.answering.spoken import Sound
from serve.api.settings import ApiSettings
from serve.engine.types import ConstraintError, EngineUnavailableError


async def whole_body(run: Run, settings: ApiSettings) -> str | AsyncIterator[bytes]:
    """The body of the plain response; in pieces where it tells of the prompt.

    Raises:
        ApiError: the engine failed, or an answer could not go on as the request asks.
    """
    # A task of its own, so that the exchange can end it.
    collecting = asyncio.create_task(_collect(run))
    run.exchange.on_close(collecting.cancel)
    try:
        body = await collecting
    except EngineUnavailableError as error:
        raise unavailable(error, settings.retry_after_seconds) from error
    except ConstraintError as error:
        raise constraint_failed(error, run.wire.constrained_by) from error
    finally:
        collecting.cancel()
    if run.wire.prompt_logprobs is None:
        return body
    return run.prompt_writer.ending(body, run.generation.prompt_logprobs)


async def joined(body: str | AsyncIterator[bytes]) -> str:
    """A body of `whole_body` in one piece."""
    if isinstance(body, str):
        return body
    return b"".join([piece async for piece in body]).decode()


async def _collect(run: Run) -> str:
    collected = Collected(run)
    try:
        async for item in run.source:
            if isinstance(item, Sound):
                await collected.hear(item)
            else:
                for delta in await run.feed(item):
                    run.calls[delta.index].deltas(delta.calls)
                    collected.add(delta, run.entries(delta))
            if run.is_last(item):
                break
        run.check_finished()
        return await collected.completion()
    finally:
        if run.spoken is not None:
            await run.spoken.aclose()
