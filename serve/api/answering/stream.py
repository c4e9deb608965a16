"""An answer told as it comes, in the frames of a stream.

Knows nothing of HTTP. The status line is out when a stream begins, so failures are events too.
"""

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from serve.api.answering import sse
from serve.api.answering.choices import ChoiceDelta
from serve.api.answering.chunks import ChunkWriter
from serve.api.answering.collected import Collected
from serve.api.answering.failures import constraint_failed, unavailable, unforeseen
from serve.api.answering.run import Run
from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.engine.types import ConstraintError, EngineUnavailableError

_LOG = logging.getLogger("parlance.api")


# Keeps a completion object, and returns when it is durable.
Keep = Callable[[str], Awaitable[None]]


async def stream_frames(
    run: Run, settings: ApiSettings, keep: Keep | None = None
) -> AsyncGenerator[bytes]:
    """The events of a streamed response; a failure is the last one.

    Args:
        run: that is told of.
        settings: of the HTTP side.
        keep: is given the whole completion before the stream says that it has ended.
    """
    try:
        async with aclosing(_frames(run, settings, keep)) as frames:
            async for some in frames:
                yield some
    except EngineUnavailableError as error:
        failure = unavailable(error, settings.retry_after_seconds)
        yield sse.event(json.dumps(failure.body()))
    except ConstraintError as error:
        yield sse.event(json.dumps(constraint_failed(error, run.wire.constrained_by).body()))
    except ApiError as error:
        yield sse.event(json.dumps(error.body()))
    except Exception:  # noqa: BLE001  the status line is out: say it in the stream
        _LOG.exception("the stream of request %s failed", run.exchange.request_id)
        yield sse.event(json.dumps(unforeseen(run.exchange.request_id).body()))
    finally:
        run.generation.cancel()


async def _frames(run: Run, settings: ApiSettings, keep: Keep | None) -> AsyncGenerator[bytes]:
    collected = Collected(run) if keep else None
    options = run.wire.stream_options
    include_usage = bool(options and options.include_usage)
    writer = ChunkWriter(
        run.head,
        include_usage=include_usage,
        obfuscate=options is None or options.include_obfuscation is not False,
    )
    openings = range(run.wire.choices)
    yield _joined(
        [writer.opening(index, may_lack_content=run.may_lack_content) for index in openings]
    )
    async with sse.Paced(run.generation, settings.keep_alive_seconds) as batches:
        run.exchange.on_close(batches.stop)
        # Of a client that sends nothing more, writing alone tells whether it is still there.
        run.exchange.on_half_close(lambda: batches.hasten(settings.half_closed_seconds))
        async for batch in batches:
            if batch is None:
                yield sse.KEEP_ALIVE
                continue
            deltas = await run.feed(batch)
            frames = _joined(_chunks(run, writer, deltas, collected))
            if frames:
                yield frames
            else:
                # Where thoughts are not shown, their events leave the client without a word.
                batches.silent()
            if run.answer.finished:
                break
    run.check_finished()
    if keep and collected:
        await keep(collected.completion())
    last = _joined([writer.usage(run.usage)]) if include_usage else b""
    yield last + sse.DONE


def _chunks(
    run: Run, writer: ChunkWriter, deltas: list[ChoiceDelta], collected: Collected | None
) -> list[str]:
    chunks: list[str] = []
    for delta in deltas:
        entries = run.entries(delta)
        if delta.thoughts and run.shows_thoughts:
            chunks.append(writer.thoughts(delta.index, delta.thoughts))
        if delta.text or entries:
            chunks.append(writer.text(delta.index, delta.text, entries, refused=delta.refused))
        told = run.calls[delta.index].deltas(delta.calls)
        chunks += [writer.calls(delta.index, member) for member in told]
        if collected:
            collected.add(delta, entries)
        if (reason := run.reason(delta)) is not None:
            chunks.append(writer.finish(delta.index, reason))
    return chunks


def _joined(chunks: list[str]) -> bytes:
    return b"".join(map(sse.event, chunks))
