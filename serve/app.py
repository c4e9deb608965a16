"""Puts the HTTP side together: routes, keys, errors, headers around an engine.

Knows nothing of how the engine, the tokenizer or the settings came to be.
"""

import logging
from typing import Any, cast

from quart import Quart, request

from model.tokenizer import Tokenizer
from serve.api import failures
from serve.api.chat import ChatEndpoint
from serve.api.cross_origin import CrossOrigin
from serve.api.docs_page import DocsEndpoint
from serve.api.exchange import exchange_of
from serve.api.health import HealthEndpoint
from serve.api.keys import ApiKeys
from serve.api.middleware import Envelope
from serve.api.models import ModelsEndpoint
from serve.api.settings import ApiSettings
from serve.engine.types import EngineClient
from serve.grammar.compiler import GrammarCompiler, GrammarLimits
from serve.metrics import Metrics
from serve.text.calls.detect import choose
from serve.text.render import Renderer

logger = logging.getLogger(__name__)


def create_app(
    engine: EngineClient,
    renderer: Renderer,
    tokenizer: Tokenizer,
    end_ids: frozenset[int],
    settings: ApiSettings,
    metrics: Metrics,
) -> Quart:
    """The ASGI application.

    Args:
        engine: generates; may still be starting.
        renderer: makes prompts of messages.
        tokenizer: the one that `renderer` uses.
        end_ids: the ids that end the assistant's turn.
        settings: of the HTTP side.
        metrics: shown at `/metrics`; the engine reports its steps to the same object.
    """
    app = Quart("parlance", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.json.sort_keys = False  # pyright: ignore[reportAttributeAccessIssue]
    metrics.watch(engine)

    limits = GrammarLimits(settings.max_grammar_bytes, settings.grammar_seconds)
    grammars = GrammarCompiler(tokenizer, engine.info.vocab_size, end_ids, limits)
    call_format = choose(settings.tool_format, renderer.template.source)
    logger.info("calls of tools are written in the format %s", call_format.name)
    chat = ChatEndpoint(
        engine, renderer, tokenizer, end_ids, settings, metrics, grammars, call_format
    )
    models = ModelsEndpoint(settings)
    health = HealthEndpoint(engine, settings, metrics)
    docs = DocsEndpoint(settings)
    for prefix in ("/v1", ""):
        _route(app, "POST", f"{prefix}/chat/completions", chat.__call__)
        _route(app, "GET", f"{prefix}/models", models.list)
        _route(app, "GET", f"{prefix}/models/<path:model_id>", models.retrieve)
    _route(app, "GET", "/health/live", health.live)
    _route(app, "GET", "/health/ready", health.ready)
    _route(app, "GET", "/health", health.ready)
    _route(app, "GET", "/metrics", health.metrics)
    _route(app, "GET", "/openapi.json", docs.openapi)
    _route(app, "GET", "/docs", docs.page)

    keys = ApiKeys(settings.api_keys)

    async def admit() -> None:
        if request.url_rule is not None:
            exchange_of(request.scope).route = request.url_rule.rule
        keys.check(request.path, request.headers.get("Authorization", ""))

    app.before_request(admit)
    failures.install(app, settings.max_body_bytes)
    envelope = Envelope(app.asgi_app, CrossOrigin(settings.cors_origins), metrics)
    app.asgi_app = cast("Any", envelope)
    return app


def _route(app: Quart, method: str, path: str, handler: Any) -> None:
    app.add_url_rule(path, f"{method} {path}", handler, methods=[method])
