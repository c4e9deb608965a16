"""Puts the HTTP side together: routes, keys, errors, headers around an engine.

Knows nothing of how the engine, the tokenizer or the settings came to be.
"""

import asyncio
import logging
from functools import partial
from typing import Any, cast

from quart import Quart, request

from model.tokenizer import Tokenizer
from serve.api.answering.answerer import Answerer
from serve.api.asking.constraint import Constraints
from serve.api.asking.conversation import ConversationRenderer
from serve.api.asking.draft import Drafter
from serve.api.asking.prepare import Preparer
from serve.api.asking.worker_pool import WorkerPool
from serve.api.exchange import exchange_of
from serve.api.http import error_responses
from serve.api.http.body_room import BodyRoom
from serve.api.http.chat import ChatEndpoint
from serve.api.http.cross_origin import CrossOrigin
from serve.api.http.docs_page import DocsEndpoint
from serve.api.http.files import FilesEndpoint
from serve.api.http.health import HealthEndpoint
from serve.api.http.intake import UploadRequest
from serve.api.http.keeping import Keeper
from serve.api.http.keys import ApiKeys
from serve.api.http.middleware import Envelope
from serve.api.http.models import ModelsEndpoint
from serve.api.http.other_protocols import refuse_other_protocols
from serve.api.http.routes import add_routes
from serve.api.http.spoken_answers import HeldAnswers, StoredAnswers
from serve.api.http.stored import StoredEndpoint
from serve.api.settings import ApiSettings
from serve.engine.types import EngineClient
from serve.filter.content_filter import ContentFilter
from serve.filter.moderation import Moderation
from serve.gathering import Senses, gathering, speaking
from serve.grammar.after_thoughts import ThoughtMarkers
from serve.grammar.banned_words import WordBans
from serve.grammar.compiler import GrammarCompiler, GrammarLimits
from serve.metrics import Metrics
from serve.store.errors import StoreStartError
from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings
from serve.text.calls.detect import choose
from serve.text.render import Renderer
from serve.text.thoughts.detect import choose as choose_thoughts
from serve.text.thoughts.reading import check_together

__all__ = ["StoreStartError", "check_settings", "create_app"]

logger = logging.getLogger(__name__)


def create_app(
    engine: EngineClient,
    renderer: Renderer,
    tokenizer: Tokenizer,
    end_ids: frozenset[int],
    settings: ApiSettings,
    metrics: Metrics,
    content_filter: ContentFilter | None = None,
    senses: Senses | None = None,
) -> Quart:
    """The ASGI application.

    Args:
        engine: generates; may still be starting.
        renderer: makes prompts of messages.
        tokenizer: the one that `renderer` uses.
        end_ids: the ids that end the assistant's turn.
        settings: of the HTTP side.
        metrics: shown at `/metrics`; the engine reports its steps to the same object.
        content_filter: what requests and answers may not say; None for anything.
        senses: what there is beside a model of text; `renderer` writes pictures as its sight says.
    """
    app = Quart("parlance", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = settings.body_seconds
    # Whoever reads its answer, however slowly, gets it: connections are bounded in standstill.
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # A doubled slash is no route; the router would redirect to what it calls this server.
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # pyright: ignore[reportAttributeAccessIssue]
    metrics.watch(engine)
    store = _store(app, settings, metrics)

    add_routes(
        app,
        chat=_chat_endpoint(
            app,
            engine,
            renderer,
            tokenizer,
            end_ids,
            settings,
            metrics,
            store,
            content_filter,
            senses or Senses(),
        ),
        models=ModelsEndpoint(settings),
        health=HealthEndpoint(engine, settings, metrics),
        docs=DocsEndpoint(settings),
        stored=StoredEndpoint(store, settings),
        files=FilesEndpoint(store, settings),
    )
    keys = ApiKeys(settings.api_keys)

    async def admit() -> None:
        exchange = exchange_of(request.scope)
        if request.url_rule is not None:
            exchange.route = request.url_rule.rule
        exchange.key = keys.check(request.path, request.headers.get("Authorization", ""))
        refuse_other_protocols(request)

    app.before_request(admit)
    error_responses.install(app, settings.max_body_bytes)
    envelope = Envelope(
        app.asgi_app, CrossOrigin(settings.cors_origins), metrics, BodyRoom(settings)
    )
    app.asgi_app = cast("Any", envelope)
    return app


def check_settings(settings: ApiSettings) -> None:
    """See whether the store that they name can be used, where there is no event loop yet.

    Raises:
        StoreStartError: it cannot be.
    """
    if settings.stores:
        asyncio.run(Store(_store_settings(settings), StoreMetrics()).check())


def _store(app: Quart, settings: ApiSettings, metrics: Metrics) -> Store | None:
    if not settings.stores:
        return None
    store = Store(_store_settings(settings), StoreMetrics(metrics.registry))
    app.request_class = UploadRequest
    app.before_serving(store.start)
    app.after_serving(store.close)
    return store


def _store_settings(settings: ApiSettings) -> StoreSettings:
    return StoreSettings(
        place=settings.store,
        keep_days=settings.store_days,
        most_bytes=settings.store_bytes,
        most_owner_bytes=settings.max_files_bytes,
    )


def _chat_endpoint(
    app: Quart,
    engine: EngineClient,
    renderer: Renderer,
    tokenizer: Tokenizer,
    end_ids: frozenset[int],
    settings: ApiSettings,
    metrics: Metrics,
    store: Store | None,
    content_filter: ContentFilter | None,
    senses: Senses,
) -> ChatEndpoint:
    info = engine.info
    limits = GrammarLimits(settings.max_grammar_bytes, settings.grammar_seconds)
    grammars = GrammarCompiler(tokenizer, info.vocab_size, end_ids, limits)
    call_format = choose(settings.tool_format, renderer.template.source)
    logger.info("calls of tools are written in the format %s", call_format.name)
    thoughts = choose_thoughts(settings.reasoning_format, renderer.template.source)
    check_together(thoughts, call_format)
    logger.info("thoughts are marked in the format %s", thoughts.name if thoughts else "none")
    conversations = ConversationRenderer(renderer, call_format, settings.schema_in_prompt)
    bans = WordBans(tokenizer, info.vocab_size, end_ids)
    grammars.soon(lambda _: bans.prepare())
    markers = None
    if thoughts is not None and not thoughts.in_channels:
        markers = ThoughtMarkers(
            tokenizer, info.vocab_size, end_ids, thoughts.opening, thoughts.closing
        )
        grammars.soon(lambda _: markers.prepare())
    constraints = Constraints(
        *(grammars, call_format, tokenizer.controls, bans, markers),
        in_channels=thoughts is not None and thoughts.in_channels,
    )
    answers = HeldAnswers() if store is None else StoredAnswers(store.spoken, settings)
    refusals, gatherer = gathering(app, senses, settings, info, tokenizer, metrics, store, answers)
    offer, speech = speaking(app, senses, settings, metrics, answers)
    drafter = Drafter(
        conversations,
        info,
        end_ids,
        settings,
        thoughts,
        content_filter,
        refusals,
        offer,
        searches=senses.search is not None,
    )
    workers = WorkerPool(drafter, settings.max_body_bytes, text_bytes=settings.text_body_bytes)
    app.before_serving(workers.start)
    app.after_serving(workers.close)
    moderation = None if settings.moderation is None else Moderation(settings.moderation)
    if moderation is not None:
        app.after_serving(moderation.close)
    on_filtered = partial(metrics.count_filtered, "input")
    preparer = Preparer(drafter, workers, constraints, settings, on_filtered, moderation, gatherer)
    answerer = Answerer(
        *(settings, info.fingerprint, tokenizer, call_format, thoughts, metrics),
        content_filter,
        moderation,
        speech,
    )
    return ChatEndpoint(engine, preparer, answerer, Keeper(store, settings), settings)
