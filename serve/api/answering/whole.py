"""An answer told at once, when all of its choices have ended.

Knows nothing of HTTP.
"""

import asyncio
from collections.abc import AsyncIterator

from serve.api.answering.completion import EndedChoice, completion
from serve.api.answering.failures import constraint_failed, unavailable
from serve.api.answering.run import Run
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
        choices = await collecting
    except EngineUnavailableError as error:
        raise unavailable(error, settings.retry_after_seconds) from error
    except ConstraintError as error:
        raise constraint_failed(error, run.wire.constrained_by) from error
    finally:
        collecting.cancel()
    body = completion(run.head, choices, run.usage)
    if run.wire.prompt_logprobs is None:
        return body
    return run.prompt_writer.ending(body, run.generation.prompt_logprobs)


async def _collect(run: Run) -> list[EndedChoice]:
    asked = run.wire.alternatives is not None
    texts = [list[str]() for _ in range(run.wire.choices)]
    # Written as they come, so that no answer, however long, holds up the others at its end.
    entries = [list[str]() for _ in texts]
    reasons: dict[int, str] = {}
    async for batch in run.generation:
        for delta in run.feed(batch):
            texts[delta.index].append(delta.text)
            entries[delta.index] += run.entries(delta) or ()
            run.calls[delta.index].deltas(delta.calls)
            if (reason := run.reason(delta)) is not None:
                reasons[delta.index] = reason
        if run.answer.finished:
            break
    run.check_finished()
    return [
        EndedChoice(
            "".join(text) or (None if run.may_call else ""),
            entries[index] if asked else None,
            reasons[index],
            run.calls[index].members,
        )
        for index, text in enumerate(texts)
    ]
