"""From settings to a running server: loads, builds, and hands over to `server.py`.

The one place that knows every part. Everything that a person can correct becomes a
`StartupError` of one sentence; what happens after the start is `server.py`'s business.
"""

import asyncio
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypercorn.config
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model.config import CheckpointError
from model.mesh import MeshError
from model.tokenizer import TokenizerError
from serve.api.settings import ApiSettings
from serve.app import create_app
from serve.config import ConfigError, ServeConfig, read_api_keys
from serve.engine.bridge import EngineBridge
from serve.engine.config import EngineConfigError
from serve.engine.engine import Engine
from serve.engine.loading import LoadedEngine, load_engine
from serve.metrics import Metrics
from serve.server import ListenError, Server, http_config, leave_at_once, listen
from serve.text.render import Renderer
from serve.text.template import TemplateError
from serve.text.template_files import load_chat_template

logger = logging.getLogger(__name__)

_OWN_LOGGERS = ("model", "parlance", "sampling", "serve")
_CORRECTABLE = (
    CheckpointError,
    ConfigError,
    EngineConfigError,
    ListenError,
    MeshError,
    TemplateError,
    TokenizerError,
)


class StartupError(Exception):
    """The server cannot start with these settings; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that is needed to serve, before there is an event loop."""

    config: ServeConfig
    api: ApiSettings
    http: hypercorn.config.Config
    port: int
    loaded: LoadedEngine
    renderer: Renderer
    end_ids: frozenset[int]


def launch(config: ServeConfig) -> int:
    """Serve until a signal or the engine's death.

    Returns:
        the exit code: 0 after a stop that was asked for, else 1.

    Raises:
        StartupError: the settings or the model do not work.
    """
    began = time.perf_counter()
    _configure_logging(config.log_level)
    with logging_redirect_tqdm():
        try:
            prepared = _prepare(config)
        except _CORRECTABLE as error:
            logger.debug("why the start failed", exc_info=True)
            raise StartupError(str(error)) from error
        with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
            return runner.run(_serve(prepared, began))


def _configure_logging(level: str) -> None:
    own = getattr(logging, level.upper())
    logging.basicConfig(
        stream=sys.stderr,
        level=max(own, logging.WARNING),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(own)


def _prepare(config: ServeConfig) -> _Prepared:
    api = _api_settings(config)
    listener = listen(config.host, config.port)
    port = int(listener.getsockname()[1])
    http = http_config(config, listener)
    logger.info("loading %s", config.model)
    loaded = load_engine(
        config.model,
        dtype=config.dtype,
        mesh=config.mesh,
        rows=config.rows,
        context=config.context,
        page_size=config.page_size,
        cache_tokens=config.cache_tokens,
        prefill_chunk=config.prefill_chunk,
        queue_limit=config.queue_limit,
        deterministic=config.deterministic,
        compile_cache=config.compile_cache_directory,
    )
    tokenizer = loaded.tokenizer
    template = load_chat_template(config.model, tokenizer.named, config.chat_template)
    renderer = Renderer(tokenizer, template)
    end_ids = renderer.end_ids(loaded.end_ids)
    return _Prepared(config, api, http, port, loaded, renderer, end_ids)


def _api_settings(config: ServeConfig) -> ApiSettings:
    shape = config.model / "config.json"
    return ApiSettings(
        model_id=config.served_id,
        aliases=config.aliases,
        created=int(shape.stat().st_mtime) if shape.is_file() else 0,
        max_choices=config.max_choices,
        max_body_bytes=config.max_body_bytes,
        max_grammar_bytes=config.max_grammar_bytes,
        grammar_seconds=config.grammar_seconds,
        schema_in_prompt=config.schema_in_prompt,
        tool_format=config.tool_format,
        api_keys=tuple(sorted(read_api_keys(config))),
        cors_origins=config.cors_origins,
        keep_alive_seconds=config.keep_alive_seconds,
    )


async def _serve(prepared: _Prepared, began: float) -> int:
    config, engine = prepared.config, prepared.loaded.engine
    bridge, metrics = EngineBridge(engine), Metrics()
    app = create_app(
        bridge,
        prepared.renderer,
        prepared.loaded.tokenizer,
        prepared.end_ids,
        prepared.api,
        metrics,
    )

    def start() -> None:
        _start_with_progress(engine, bridge, metrics)

    def on_ready() -> None:
        seconds = time.perf_counter() - began
        print(ready_message(config, prepared.port, seconds), flush=True)

    for name, value in engine.info.description.items():
        logger.info("%s: %s", name, value)
    server = Server(app, engine, lambda: bridge.open, config)
    code = await server.run(prepared.http, start, on_ready)
    if not server.started:
        leave_at_once(code)
    return code


def _start_with_progress(engine: Engine, bridge: EngineBridge, metrics: Metrics) -> None:
    began = time.perf_counter()
    bar: tqdm[Any] | None = None
    programs = 0

    def on_progress(done: int, total: int) -> None:
        nonlocal bar, programs
        programs = total
        if bar is None:
            logger.info("compiling %d programs", total)
            bar = tqdm(total=total, desc="compiling", unit="program", disable=None, leave=False)
        bar.update(done - bar.n)

    try:
        engine.start(bridge.on_step, metrics.observe_step, on_progress)
    finally:
        if bar is not None:
            bar.close()
    logger.info("compiled %d programs in %.1f s", programs, time.perf_counter() - began)


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    # uvloop is not made for every platform.
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return new_event_loop


def ready_message(config: ServeConfig, port: int, seconds: float) -> str:
    """What a person needs to know once requests are answered: the address, and how to ask."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104
    address = f"[{host}]" if ":" in host else host
    url = f"{config.scheme}://{address}:{port}/v1"
    body = {"model": config.served_id, "messages": [{"role": "user", "content": "Hello"}]}
    parts = [f"curl {url}/chat/completions -H 'Content-Type: application/json'"]
    if config.api_key or config.api_key_file:
        parts.append('-H "Authorization: Bearer $PARLANCE_API_KEY"')
    parts.append(f"-d {shlex.quote(json.dumps(body))}")
    return (
        f"Parlance serves {config.served_id} at {url} (ready in {seconds:.1f} s). Try:\n"
        f"  {' '.join(parts)}"
    )
