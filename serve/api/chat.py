"""`POST /chat/completions`: from the request's body to the last byte of the answer.

Knows nothing of validation's rules, of JSON's shape, or of how the engine works.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from quart import Request, Response, request

from model.tokenizer import Tokenizer
from serve.api import sse
from serve.api.answer import Answer, CallReading, ChoiceDelta
from serve.api.errors import ApiError, constraint_failed, queue_full, unavailable, unforeseen
from serve.api.exchange import Exchange, exchange_of
from serve.api.logprobs import EntryWriter
from serve.api.prepare import Prepared, Preparer
from serve.api.respond import (
    ChunkWriter,
    EndedChoice,
    Head,
    Usage,
    completion,
    new_completion_id,
)
from serve.api.settings import ApiSettings
from serve.api.tool_answers import CallLog
from serve.api.tool_grammar import ToolGrammars
from serve.api.tool_request import AskedTools
from serve.engine.types import (
    Constraint,
    ConstraintError,
    EngineClient,
    EngineUnavailableError,
    Generation,
    GenerationRequest,
    QueueFullError,
)
from serve.grammar.compiler import GrammarCompiler
from serve.grammar.schema import SchemaError, compile_schema
from serve.metrics import Metrics
from serve.text.calls.format import CallFormat
from serve.text.render import Renderer

_LOG = logging.getLogger("parlance.api")


@dataclass(frozen=True, slots=True)
class _Run:
    """One completion under way."""

    prepared: Prepared
    head: Head
    generation: Generation
    answer: Answer
    exchange: Exchange
    clock: "_TokenClock"
    writer: EntryWriter
    calls: "list[CallLog]"

    def feed(self, deltas: list[ChoiceDelta]) -> None:
        """Note what the last batch of events brought."""
        self.clock.tick(deltas)
        self.exchange.completion_tokens = self.answer.completion_tokens

    def check_finished(self) -> None:
        """Raises RuntimeError if the engine has broken its promise to end every choice."""
        if not self.answer.finished:
            raise RuntimeError("the engine ended the generation before its choices had ended")

    def entries(self, delta: ChoiceDelta) -> list[str] | None:
        """The log-probabilities of a delta's tokens as JSON; None where nobody asked."""
        alternatives = self.prepared.wire.alternatives
        return None if alternatives is None else self.writer.entries(delta.events, alternatives)

    def reason(self, delta: ChoiceDelta) -> str | None:
        """How a choice has ended, if it has: at the end of its turn with calls, if it made any."""
        if delta.finish_reason != "stop":
            return delta.finish_reason
        return self.calls[delta.index].reason or "stop"

    @property
    def may_call(self) -> bool:
        """Whether choices may hold calls, and then perhaps nothing else."""
        tools = self.prepared.tools
        return tools is not None and bool(tools.callable)

    @property
    def usage(self) -> Usage:
        """Token counts so far."""
        return Usage(
            prompt=len(self.prepared.prompt),
            completion=self.answer.completion_tokens,
            cached=self.generation.cached_tokens,
        )


class ChatEndpoint:
    """The handler.

    Args:
        engine: generates.
        renderer: makes prompts of messages.
        tokenizer: turns sampled ids into bytes.
        end_ids: the ids that end the assistant's turn.
        settings: of the HTTP side.
        metrics: told of tokens and their times.
        grammars: compiles what answers must follow.
        call_format: how the model writes calls of tools.
    """

    def __init__(
        self,
        engine: EngineClient,
        renderer: Renderer,
        tokenizer: Tokenizer,
        end_ids: frozenset[int],
        settings: ApiSettings,
        metrics: Metrics,
        grammars: GrammarCompiler,
        call_format: CallFormat,
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._settings = settings
        self._metrics = metrics
        self._grammars = grammars
        self._call_format = call_format
        self._tool_grammars = ToolGrammars(call_format, tokenizer.controls)
        self._markers = {token: spelling for spelling, token in tokenizer.controls.items()}
        self._preparer = Preparer(renderer, engine.info, end_ids, settings, call_format)
        self._writer = EntryWriter(tokenizer)

    async def __call__(self) -> Response:
        """Answer the current request."""
        exchange = exchange_of(request.scope)
        _check_content_type(request)
        body = await request.get_data(False, False, False)
        if len(body) > self._settings.thread_body_bytes:
            prepared = await asyncio.to_thread(self._preparer.prepare, body)
        else:
            prepared = self._preparer.prepare(body)
        constraint = await self._constraint(prepared)
        wire = prepared.wire
        exchange.metadata = wire.metadata
        exchange.caller = wire.caller and self._hashed(wire.caller)
        run = self._start(prepared, constraint, exchange)
        if wire.stream:
            response = Response(self._stream(run), headers=sse.HEADERS)
            response.timeout = None
            return response
        return await self._plain(run)

    def _hashed(self, caller: str) -> str:
        key = self._settings.caller_hash_key
        return hashlib.blake2b(caller.encode(), key=key, digest_size=8).hexdigest()

    async def _constraint(self, prepared: Prepared) -> Constraint | None:
        schema, tools = prepared.answer_schema, prepared.tools
        if tools is not None:
            constraint = self._tool_grammars.constraint
            compiled = self._grammars.soon(partial(constraint, asked=tools, schema=schema))
            return await asyncio.wrap_future(compiled)
        if schema is None:
            return None
        job = partial(compile_schema, schema=schema.schema, strict=schema.strict)
        try:
            return await asyncio.wrap_future(self._grammars.soon(job))
        except SchemaError as error:
            raise schema.refused(error) from error

    def _start(self, prepared: Prepared, constraint: Constraint | None, exchange: Exchange) -> _Run:
        wire = prepared.wire
        head = Head(
            id=new_completion_id(),
            created=int(time.time()),
            model=self._settings.model_id,
            fingerprint=self._engine.info.fingerprint,
            service_tier=wire.service_tier,
        )
        try:
            generation = self._engine.submit(
                GenerationRequest(
                    id=head.id,
                    prompt=prepared.prompt,
                    sampling=prepared.sampling,
                    max_tokens=prepared.max_tokens,
                    choices=prepared.choices,
                    end_ids=self._end_ids,
                    constraint=constraint,
                )
            )
        except QueueFullError as error:
            raise queue_full(error) from error
        except EngineUnavailableError as error:
            raise unavailable(error, self._settings.retry_after_seconds) from error
        # However the exchange ends, and even if the answer below is never begun.
        exchange.on_close(generation.cancel)
        exchange.prompt_tokens = len(prepared.prompt)
        reading = self._reading(prepared.tools)
        answer = Answer(self._tokenizer, wire.stops, prepared.choices, generation, reading)
        clock = _TokenClock(self._metrics, exchange.started)
        legacy = prepared.tools is not None and prepared.tools.legacy
        calls = [CallLog(legacy=legacy) for _ in range(prepared.choices)]
        return _Run(prepared, head, generation, answer, exchange, clock, self._writer, calls)

    def _reading(self, tools: AskedTools | None) -> CallReading:
        if tools is None:
            return CallReading()
        controls = self._tokenizer.controls
        parser = partial(self._call_format.parser, tools.callable, controls)
        return CallReading(parser, self._markers)

    async def _plain(self, run: _Run) -> Response:
        # A task of its own, so that the exchange can end it.
        collecting = asyncio.create_task(_collect(run))
        run.exchange.on_close(collecting.cancel)
        try:
            choices = await collecting
        except EngineUnavailableError as error:
            raise unavailable(error, self._settings.retry_after_seconds) from error
        except ConstraintError as error:
            raise constraint_failed(error, run.prepared.constrained_by) from error
        finally:
            collecting.cancel()
        body = completion(run.head, choices, run.usage)
        return Response(body, content_type="application/json")

    async def _stream(self, run: _Run) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(self._frames(run)) as frames:
                async for some in frames:
                    yield some
        except EngineUnavailableError as error:
            failure = unavailable(error, self._settings.retry_after_seconds)
            yield sse.event(json.dumps(failure.body()))
        except ConstraintError as error:
            yield sse.event(
                json.dumps(constraint_failed(error, run.prepared.constrained_by).body())
            )
        except Exception:  # noqa: BLE001  the status line is out: say it in the stream
            _LOG.exception("the stream of request %s failed", run.exchange.request_id)
            yield sse.event(json.dumps(unforeseen(run.exchange.request_id).body()))
        finally:
            run.generation.cancel()

    async def _frames(self, run: _Run) -> AsyncGenerator[bytes]:
        options = run.prepared.wire.stream_options
        include_usage = bool(options and options.include_usage)
        writer = ChunkWriter(
            run.head,
            include_usage=include_usage,
            obfuscate=options is None or options.include_obfuscation is not False,
        )
        openings = range(run.prepared.choices)
        yield _joined([writer.opening(index, may_call=run.may_call) for index in openings])
        async with sse.Paced(run.generation, self._settings.keep_alive_seconds) as batches:
            run.exchange.on_close(batches.stop)
            async for batch in batches:
                if batch is None:
                    yield sse.KEEP_ALIVE
                    continue
                deltas = run.answer.feed(batch)
                run.feed(deltas)
                frames = _joined(_chunks(run, writer, deltas))
                if frames:
                    yield frames
                if run.answer.finished:
                    break
        run.check_finished()
        last = _joined([writer.usage(run.usage)]) if include_usage else b""
        yield last + sse.DONE


async def _collect(run: _Run) -> list[EndedChoice]:
    asked = run.prepared.wire.alternatives is not None
    texts = [list[str]() for _ in range(run.prepared.choices)]
    # Written as they come, so that no answer, however long, holds up the others at its end.
    entries = [list[str]() for _ in texts]
    reasons: dict[int, str] = {}
    async for batch in run.generation:
        deltas = run.answer.feed(batch)
        run.feed(deltas)
        for delta in deltas:
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


def _chunks(run: _Run, writer: ChunkWriter, deltas: list[ChoiceDelta]) -> list[str]:
    chunks: list[str] = []
    for delta in deltas:
        entries = run.entries(delta)
        if delta.text or entries:
            chunks.append(writer.content(delta.index, delta.text, entries))
        told = run.calls[delta.index].deltas(delta.calls)
        chunks += [writer.calls(delta.index, member) for member in told]
        if (reason := run.reason(delta)) is not None:
            chunks.append(writer.finish(delta.index, reason))
    return chunks


def _joined(chunks: list[str]) -> bytes:
    return b"".join(map(sse.event, chunks))


def _check_content_type(request: Request) -> None:
    kind = request.mimetype
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    if not is_json or charset not in ("utf-8", "utf8"):
        raise ApiError(
            415,
            f"The body must be JSON in UTF-8, but its Content-Type is "
            f"'{request.content_type or 'missing'}'. Send 'Content-Type: application/json'.",
            code="unsupported_media_type",
        )


class _TokenClock:
    """Times of tokens, for the metrics."""

    def __init__(self, metrics: Metrics, started: float) -> None:
        self._metrics = metrics
        self._started = started
        self._last: dict[int, float] = {}

    def tick(self, deltas: list[ChoiceDelta]) -> None:
        """Some choices have more tokens now."""
        now = perf_counter()
        for delta in deltas:
            if not delta.events:
                continue
            last = self._last.get(delta.index)
            if last is not None:
                self._metrics.observe_between((now - last) / len(delta.events))
            elif not self._last:
                self._metrics.observe_first_token(now - self._started)
            self._last[delta.index] = now
