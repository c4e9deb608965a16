"""`POST /chat/completions`: hands a body on, from being asked to being answered.

Knows nothing of validation's rules, of JSON's shape, or of how the engine works.
"""

import hashlib
from dataclasses import replace
from functools import partial

from quart import Response, request

from serve.api.answering import sse
from serve.api.answering.answerer import Answerer
from serve.api.answering.failures import queue_full, unavailable
from serve.api.answering.stream import stream_frames
from serve.api.answering.whole import joined, whole_body
from serve.api.asking.prepare import Prepared, Preparer
from serve.api.exchange import Exchange, exchange_of
from serve.api.http.callers import Caller, address_of
from serve.api.http.json_request import json_body
from serve.api.http.keeping import Keeper, owner_of
from serve.api.http.rate_limits import RateLimits
from serve.api.http.service_tiers import ServiceTiers
from serve.api.settings import ApiSettings
from serve.api.wire.names import new_id
from serve.engine.types import (
    EngineClient,
    EngineUnavailableError,
    Generation,
    GenerationRequest,
    QueueFullError,
)

# Names fields that were accepted and changed nothing; not there where everything had its effect.
NO_EFFECT = "x-parlance-no-effect"
# Why an answer that was to be searched for is not, in a word.
NO_SEARCH = "x-parlance-no-search"


class ChatEndpoint:
    """The handler.

    Args:
        engine: generates.
        preparer: makes a request of a body.
        answerer: makes an answer of a generation.
        keeper: stores answers.
        settings: of the HTTP side.
    """

    def __init__(
        self,
        engine: EngineClient,
        preparer: Preparer,
        answerer: Answerer,
        keeper: Keeper,
        settings: ApiSettings,
    ) -> None:
        self._engine = engine
        self._preparer = preparer
        self._answerer = answerer
        self._keeper = keeper
        self._settings = settings
        self._tiers = ServiceTiers(settings.priority_keys)
        self._rate_limits = RateLimits(settings.rate_limit)

    async def __call__(self) -> Response:
        """Answer the current request."""
        exchange = exchange_of(request.scope)
        completion_id = new_id("chatcmpl")
        caller = Caller(exchange.key, address_of(request.scope))
        self._rate_limits.take_request(caller.counted(), exchange)
        body = await json_body(request)
        owner = owner_of(exchange)
        prepared = await self._preparer.prepare(body, completion_id, caller.counted(), owner)
        # A plain answer may take minutes: the body is not held meanwhile.
        del body
        exchange.body_used()
        self._note(prepared, exchange)
        counted = caller.counted(prepared.wire.caller)
        tier = self._tiers.granted(prepared.wire.service_tier, exchange.key)
        self._rate_limits.take_prompt(caller.counted(), len(prepared.submission.prompt), exchange)
        keeping = await self._keeper.reserve(prepared.to_store, exchange, completion_id)
        prepared = replace(prepared, to_store=None)
        scope = self._cache_scope(exchange.key)
        generation = self._submit(
            replace(prepared.submission, caller=counted, tier=tier, cache_scope=scope)
        )
        # However the exchange ends, and even if the answer below is never begun.
        exchange.on_close(generation.cancel)
        exchange.prompt_tokens = len(prepared.submission.prompt)
        exchange.tier = tier.label
        run = self._answerer.begin(
            completion_id,
            prepared.wire,
            exchange.prompt_tokens,
            prepared.tools and prepared.tools.callable,
            prepared.thoughts.beginning,
            generation,
            exchange,
            tier,
            owner=owner,
            may_refuse=prepared.may_refuse,
            sources=prepared.sources,
        )
        keep = keeping and partial(keeping.keep, run.head.created)
        told = {NO_EFFECT: prepared.no_effect, NO_SEARCH: prepared.unsearched}
        headers = {name: value for name, value in told.items() if value}
        if prepared.wire.stream:
            frames = stream_frames(run, self._settings, keep)
            response = Response(frames, headers={**sse.HEADERS, **headers})
            response.timeout = None
            return response
        answer = await whole_body(run, self._settings)
        if keep:
            answer = await joined(answer)
            await keep(answer)
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
