"""`POST /chat/completions`: hands a body on, from being asked to being answered.

Knows nothing of validation's rules, of JSON's shape, or of how the engine works.
"""

import hashlib
from dataclasses import replace

from quart import Response, request

from serve.api.answering import sse
from serve.api.answering.answerer import Answerer
from serve.api.answering.failures import queue_full, unavailable
from serve.api.answering.head import new_completion_id
from serve.api.answering.stream import stream_frames
from serve.api.answering.whole import whole_body
from serve.api.asking.prepare import Prepared, Preparer
from serve.api.exchange import Exchange, exchange_of
from serve.api.http.callers import Caller, address_of
from serve.api.http.json_request import json_body
from serve.api.settings import ApiSettings
from serve.engine.types import (
    EngineClient,
    EngineUnavailableError,
    Generation,
    GenerationRequest,
    QueueFullError,
)

# Names fields that were accepted and changed nothing; not there where everything had its effect.
NO_EFFECT = "x-parlance-no-effect"


class ChatEndpoint:
    """The handler.

    Args:
        engine: generates.
        preparer: makes a request of a body.
        answerer: makes an answer of a generation.
        settings: of the HTTP side.
    """

    def __init__(
        self,
        engine: EngineClient,
        preparer: Preparer,
        answerer: Answerer,
        settings: ApiSettings,
    ) -> None:
        self._engine = engine
        self._preparer = preparer
        self._answerer = answerer
        self._settings = settings

    async def __call__(self) -> Response:
        """Answer the current request."""
        exchange = exchange_of(request.scope)
        completion_id = new_completion_id()
        body = await json_body(request)
        caller = Caller(exchange.key, address_of(request.scope))
        prepared = await self._preparer.prepare(body, completion_id, caller.counted())
        # A plain answer may take minutes: the body is not held meanwhile.
        del body
        exchange.body_used()
        self._note(prepared, exchange)
        counted = caller.counted(prepared.wire.caller)
        scope = self._cache_scope(exchange.key)
        generation = self._submit(replace(prepared.submission, caller=counted, cache_scope=scope))
        # However the exchange ends, and even if the answer below is never begun.
        exchange.on_close(generation.cancel)
        exchange.prompt_tokens = len(prepared.submission.prompt)
        run = self._answerer.begin(
            completion_id,
            prepared.wire,
            exchange.prompt_tokens,
            prepared.tools and prepared.tools.callable,
            generation,
            exchange,
        )
        headers = {NO_EFFECT: prepared.no_effect} if prepared.no_effect else {}
        if prepared.wire.stream:
            frames = stream_frames(run, self._settings)
            response = Response(frames, headers={**sse.HEADERS, **headers})
            response.timeout = None
            return response
        answer = await whole_body(run, self._settings)
        response = Response(answer, headers=headers, content_type="application/json")
        if not isinstance(answer, str):
            # A long one takes as long as its client takes to read it.
            response.timeout = None
        return response

    def _note(self, prepared: Prepared, exchange: Exchange) -> None:
        """Tell the log and the metrics who asks."""
        exchange.metadata = prepared.wire.metadata
        if prepared.submission.adapter is not None:
            exchange.adapter = prepared.wire.model
        caller = prepared.wire.caller
        exchange.caller = caller and self._hashed(caller)

    def _cache_scope(self, key: str | None) -> bytes:
        """Whom the request shares cache pages with: those of its API key, or everybody."""
        if key is None or self._settings.share_cache_between_keys:
            return b""
        secret = self._settings.cache_scope_key
        return hashlib.blake2b(key.encode(), key=secret, digest_size=16).digest()

    def _hashed(self, caller: str) -> str:
        key = self._settings.caller_hash_key
        return hashlib.blake2b(caller.encode(), key=key, digest_size=8).hexdigest()

    def _submit(self, submission: GenerationRequest) -> Generation:
        try:
            return self._engine.submit(submission)
        except QueueFullError as error:
            raise queue_full(error) from error
        except EngineUnavailableError as error:
            raise unavailable(error, self._settings.retry_after_seconds) from error
