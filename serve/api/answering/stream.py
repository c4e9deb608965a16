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
from serve.api.answering.spoken import Item, Sound
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
        await run.aclose()


async def _frames(run: Run, settings: ApiSettings, keep: Keep | None) -> AsyncGenerator[bytes]:
    collected = Collected(run) if keep else None
    options = run.wire.stream_options
    include_usage = bool(options and options.include_usage)
    writer = ChunkWriter(
        run.head,
        include_usage=include_usage,
        obfuscate=options is None or options.include_obfuscation is not False,
    )
    teller = _Teller(run, writer, collected)
    openings = range(run.wire.choices)
    yield _joined(
        [writer.opening(index, may_lack_content=run.may_lack_content) for index in openings]
    )
    async with sse.Paced(run.source, settings.keep_alive_seconds) as items:
        run.exchange.on_close(items.stop)
        # Of a client that sends nothing more, writing alone tells whether it is still there.
        run.exchange.on_half_close(lambda: items.hasten(settings.half_closed_seconds))
        async for item in items:
            if item is None:
                yield sse.KEEP_ALIVE
                continue
            frames = _joined(await teller.told(item))
            if frames:
                yield frames
            else:
                # Where thoughts are not shown, their events leave the client without a word.
                items.silent()
            if run.is_last(item):
                break
    run.check_finished()
    if keep and collected:
        await keep(await collected.completion())
    last = _joined([writer.usage(run.usage)]) if include_usage else b""
    yield last + sse.DONE


class _Teller:
    """Tells a run as it comes.

    Args:
        run: that is told of.
        writer: of the stream.
        collected: gets all of it too, where the whole is wanted at the end.
    """

    def __init__(self, run: Run, writer: ChunkWriter, collected: Collected | None) -> None:
        self._run = run
        self._writer = writer
        self._collected = collected
        # Of choices that have been said and not yet spoken.
        self._reasons: dict[int, str] = {}

    async def told(self, item: Item) -> list[str]:
        """The chunks of an item of the run's.

        Raises:
            ApiError: 503; it cannot be judged, or not be spoken.
        """
        if isinstance(item, Sound):
            return await self._sound(item)
        return [chunk for delta in await self._run.feed(item) for chunk in self._said(delta)]

    def _said(self, delta: ChoiceDelta) -> list[str]:
        run, writer, index = self._run, self._writer, delta.index
        chunks: list[str] = []
        entries = run.entries(delta)
        if delta.thoughts and run.shows_thoughts:
            chunks.append(writer.thoughts(index, delta.thoughts))
        spoken = "" if run.spoken is None or delta.refused else run.spoken.name(index)
        if delta.text or entries:
            chunks.append(
                writer.text(index, delta.text, entries, refused=delta.refused, spoken=spoken)
            )
        told = run.calls[index].deltas(delta.calls)
        chunks += [writer.calls(index, member) for member in told]
        if self._collected:
            self._collected.add(delta, entries)
        if (reason := run.reason(delta)) is not None:
            if spoken:
                self._reasons[index] = reason
            else:
                chunks += self._ended(index, reason)
        return chunks

    async def _sound(self, sound: Sound) -> list[str]:
        run, writer, index = self._run, self._writer, sound.index
        if run.spoken is None:
            raise RuntimeError("there is sound of what is not spoken")
        await run.spoken.take(sound)
        data = run.spoken.told(sound)
        name = run.spoken.name(index)
        chunks = [writer.audio(index, {"id": name, "data": data})] if data else []
        if sound.samples is None:
            ending = {"id": name, "expires_at": run.spoken.expires(index)}
            chunks.append(writer.audio(index, ending))
            chunks += self._ended(index, self._reasons.pop(index))
        return chunks

    def _ended(self, index: int, reason: str) -> list[str]:
        annotations = self._run.annotations(index)
        told = [self._writer.annotations(index, annotations)] if annotations else []
        return [*told, self._writer.finish(index, reason)]


def _joined(chunks: list[str]) -> bytes:
    return b"".join(map(sse.event, chunks))
