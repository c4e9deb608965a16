"""Puts the HTTP side together: routes, keys, errors, headers around an engine.

Knows nothing of how the engine, the tokenizer or the settings came to be.
"""

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from quart import Quart, request

from model.tokenizer import Tokenizer
from serve.api.answering.answerer import Answerer
from serve.api.asking.constraint import Constraints
from serve.api.asking.conversation import ConversationRenderer
from serve.api.asking.draft import Drafter
from serve.api.asking.media import MediaRefusals
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
from serve.api.http.stored import StoredEndpoint
from serve.api.http.uploaded import UploadedFiles
from serve.api.settings import ApiSettings
from serve.engine.types import EngineClient, EngineInfo
from serve.filter.content_filter import ContentFilter
from serve.filter.moderation import Moderation
from serve.grammar.after_thoughts import ThoughtMarkers
from serve.grammar.banned_words import WordBans
from serve.grammar.compiler import GrammarCompiler, GrammarLimits
from serve.media import extra
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.reader import DocumentReader
from serve.media.fetcher import FetchLimits, ImageFetcher
from serve.media.limits import PictureLimits
from serve.metrics import Metrics
from serve.sight import Sight
from serve.store.errors import StoreStartError
from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings
from serve.text.calls.detect import choose
from serve.text.render import Renderer
from serve.text.thoughts.detect import choose as choose_thoughts
from serve.text.thoughts.reading import check_together

if TYPE_CHECKING:
    from serve.api.asking.media_gatherer import MediaGatherer

__all__ = ["StoreStartError", "check_settings", "create_app"]

logger = logging.getLogger(__name__)

# Pictures that are decoded side by side, on cores that compute tokens too.
_MOST_PICTURE_THREADS = 4


def create_app(
    engine: EngineClient,
    renderer: Renderer,
    tokenizer: Tokenizer,
    end_ids: frozenset[int],
    settings: ApiSettings,
    metrics: Metrics,
    content_filter: ContentFilter | None = None,
    sight: Sight | None = None,
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
        sight: how the model sees, if it does; `renderer` writes pictures as it says.
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
            sight,
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
    sight: Sight | None,
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
    media_refusals, gatherer = _media(app, info, settings, store, sight)
    drafter = Drafter(
        conversations, info, end_ids, settings, thoughts, content_filter, media_refusals
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
    )
    return ChatEndpoint(engine, preparer, answerer, Keeper(store, settings), settings)


def _media(
    app: Quart,
    info: EngineInfo,
    settings: ApiSettings,
    store: Store | None,
    sight: Sight | None,
) -> "tuple[MediaRefusals, MediaGatherer | None]":
    """What reads pictures and files, and why some are not taken."""
    if reason := extra.missing():
        return MediaRefusals(reason, reason), None
    # They need the extra.
    from serve.api.asking.media_gatherer import MediaGatherer
    from serve.media.gather import ImageGatherer
    from serve.media.reader import PictureReader

    images = None
    if sight is not None:
        limits = PictureLimits(settings.max_image_bytes, settings.max_image_pixels)
        reader = PictureReader(limits, min(_MOST_PICTURE_THREADS, os.cpu_count() or 1))
        app.after_serving(reader.close)
        fetching = FetchLimits(settings.max_image_bytes)
        fetcher = ImageFetcher(fetching) if settings.fetch_images else None
        if fetcher is not None:
            app.after_serving(fetcher.close)
        images = ImageGatherer(
            *(reader, fetcher, sight.process),
            most=settings.max_images,
            view_tokens=min(info.image_tokens, info.context_length),
        )
    documents = DocumentReader(
        DocumentLimits(
            bytes=settings.max_document_bytes,
            pages=settings.max_document_pages,
            characters=settings.max_document_characters,
        )
    )
    app.after_serving(documents.close)
    files = None if store is None else UploadedFiles(store.files, settings)
    unseen = "" if images else "the model that is served does not see"
    gatherer = MediaGatherer.of(
        *(images, documents, files), info.context_length, settings.max_body_bytes
    )
    return MediaRefusals(images=unseen), gatherer
