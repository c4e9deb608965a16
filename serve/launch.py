"""From settings to a running server: loads, builds, and hands over to `server.py`.

The one place that knows every part. Everything that a person can correct becomes a
`StartupError` of one sentence; what happens after the start is `server.py`'s business.
"""

import asyncio
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model.config import CheckpointError
from model.mesh import MeshError
from model.tokenizer import TokenizerError
from serve.api.settings import ApiSettings
from serve.app import StoreStartError, check_settings, create_app
from serve.config import (
    BODY_BYTES,
    SEEING_BODY_BYTES,
    ConfigError,
    ServeConfig,
    default_compile_cache,
)
from serve.engine.bridge import EngineBridge
from serve.engine.config import EngineConfigError
from serve.engine.loading import LoadedEngine, load_engine
from serve.engine.page_files import PageDirectory
from serve.engine.transcriber import Transcriber, load_transcriber
from serve.environment import service_links
from serve.filter.content_filter import ContentFilter, read_filter
from serve.filter.errors import FilterError
from serve.filter.moderation_settings import ModerationSettings
from serve.gathering import Senses
from serve.hosts.agreement import facts_of
from serve.hosts.errors import HostsError
from serve.hosts.follower import Follower
from serve.hosts.leader import Leader
from serve.hosts.meeting import meet
from serve.hosts.processes import Processes, check_mesh, join
from serve.interpreter import set_aside_what_stays, share_the_lock
from serve.key_file import read_api_keys, read_priority_keys
from serve.leaving import leave_at_once
from serve.metrics import Metrics
from serve.model_defaults import sampling_defaults
from serve.model_places import find_model
from serve.protocol.serving import UnknownHypercornError, check_hypercorn
from serve.protocol.settings import HttpConfig
from serve.senses import SensesError, check_sound, search_of, voices_of
from serve.server import ListenError, Server, http_config, listen
from serve.sight import SightError, sight_of
from serve.text.render import Renderer
from serve.text.template import TemplateError
from serve.text.template_files import load_chat_template
from serve.voice.voices import VoicesFileError

logger = logging.getLogger(__name__)

_OWN_LOGGERS = ("model", "parlance", "sampling", "serve")
_CORRECTABLE = (
    CheckpointError,
    ConfigError,
    EngineConfigError,
    FilterError,
    HostsError,
    ListenError,
    MeshError,
    SensesError,
    SightError,
    StoreStartError,
    TemplateError,
    TokenizerError,
    UnknownHypercornError,
    VoicesFileError,
)


class StartupError(Exception):
    """The server cannot start with these settings; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that is needed to serve, before there is an event loop."""

    config: ServeConfig
    api: ApiSettings
    http: HttpConfig
    port: int
    loaded: LoadedEngine
    renderer: Renderer
    end_ids: frozenset[int]
    content_filter: ContentFilter | None
    senses: Senses
    transcriber: Transcriber | None


def launch(config: ServeConfig) -> int:
    """Serve until a signal or the engine's death.

    Returns:
        the exit code: 0 after a stop that was asked for, else 1.

    Raises:
        StartupError: the settings or the model do not work.
    """
    began = time.perf_counter()
    _configure_logging(config.log_level)
    if links := service_links(os.environ):
        logger.info("Kubernetes tells of Services by %s: no settings", ", ".join(sorted(links)))
    with logging_redirect_tqdm():
        try:
            config = _located(config)
            processes = join(config)
            if processes is None:
                return _lead(config, None, began)
        except _CORRECTABLE as error:
            logger.debug("why the start failed", exc_info=True)
            raise StartupError(str(error)) from error
        return _serve_together(config, processes, began)


def _located(config: ServeConfig) -> ServeConfig:
    """The settings with the directory of the model, and the name that it would have without."""
    place = find_model(config.model, tokenizer=not config.tokenizer)
    return replace(config, model=place.directory, model_id=config.model_id or place.name)


def _serve_together(config: ServeConfig, processes: Processes, began: float) -> NoReturn:
    """Serve as one of several processes, and end this one.

    It never returns: JAX would take its leave of processes that may have gone, for minutes.
    """
    role: Leader | Follower | None = None
    code = 1
    try:
        role = meet(processes, facts_of(config), leaves_on_loss=config.exit_on_engine_death)
        check_mesh(config.mesh)
        if isinstance(role, Leader):
            code = _lead(config, role, began)
        else:
            _follow(config, processes, role, began)
    except _CORRECTABLE as error:
        _tell(error)
        code = 2
        if role is not None:
            role.cannot_start(str(error))
    except BaseException:
        logger.exception("process %d failed", processes.index)
    finally:
        leave_at_once(code)


def _tell(error: Exception) -> None:
    print(f"parlance: {error}", file=sys.stderr)


def _lead(config: ServeConfig, followers: Leader | None, began: float) -> int:
    share_the_lock()
    prepared = _prepare(config, followers)
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        return runner.run(_serve(prepared, followers, began))


def _follow(
    config: ServeConfig, processes: Processes, follower: Follower, began: float
) -> NoReturn:
    """Run what process 0 runs until that one ends."""
    follower.pass_on_signals()
    loaded = _load(config, None)
    for name, value in loaded.engine.info.description.items():
        logger.info("%s: %s", name, value)
    with _progress() as on_progress:
        loaded.runner.compile(on_progress)
    seconds = time.perf_counter() - began
    print(
        f"Parlance process {processes.index} of {processes.count} follows process 0 "
        f"(ready in {seconds:.1f} s)",
        flush=True,
    )
    follower.follow(loaded.runner.run)


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


def _load(
    config: ServeConfig, followers: Leader | None, directory: PageDirectory | None = None
) -> LoadedEngine:
    logger.info("loading %s", config.model)
    compile_cache = config.compile_cache_directory
    if compile_cache is None:
        logger.info(
            "compiled programs are not kept for the next start: %s",
            "there is no home directory; --compile-cache names another"
            if default_compile_cache() == "off"
            else "compile_cache is off",
        )
    return load_engine(
        config.model,
        tokenizer_directory=config.tokenizer_directory,
        dtype=config.dtype,
        weights=config.weights,
        cache_dtype=config.cache_dtype,
        mesh=config.mesh,
        rows=config.rows,
        context=config.context,
        page_size=config.page_size,
        cache_tokens=config.cache_tokens,
        prefill_chunk=config.prefill_chunk,
        prefill_beside=config.prefill_beside,
        queue_limit=config.queue_limit,
        flex_patience=config.flex_patience,
        deterministic=config.deterministic,
        speculate=config.speculate,
        compile_cache=compile_cache,
        followers=followers,
        adapters=config.adapter_directories,
        host_cache_bytes=config.host_cache_bytes,
        page_directory=directory,
        image_cache_bytes=config.image_cache_bytes,
    )


def _prepare(config: ServeConfig, followers: Leader | None) -> _Prepared:
    check_hypercorn()
    api = _api_settings(config)
    check_settings(api)
    place = config.content_filter_file
    content_filter = None if place is None else read_filter(place)
    listener = listen(config.host, config.port)
    port = int(listener.getsockname()[1])
    http = http_config(config, listener)
    directory = _page_directory(config)
    if directory is not None:
        # The same after a restart, as what it is for is.
        api = replace(api, cache_scope_key=directory.key, keeps_pages=True)
    speaker, unspoken = voices_of(config)
    search = search_of(config)
    # The engine takes what memory is left.
    transcriber = _transcriber(config)
    loaded = _load(config, followers, directory)
    tokenizer = loaded.tokenizer
    texts = config.tokenizer_directory
    template = load_chat_template(texts, tokenizer.named, config.chat_template)
    sight = sight_of(loaded.engine.info.vision, config.model, tokenizer)
    senses = Senses(
        sight=sight, hearing=transcriber, search=search, speaker=speaker, unspoken=unspoken
    )
    api = _for_senses(api, config, senses)
    renderer = Renderer(tokenizer, template, sight.form if sight else None)
    end_ids = renderer.end_ids(loaded.end_ids)
    return _Prepared(
        *(config, api, http, port, loaded, renderer, end_ids, content_filter, senses, transcriber)
    )


def _transcriber(config: ServeConfig) -> Transcriber | None:
    directory = config.speech_directory
    if directory is None:
        return None
    check_sound()
    logger.info("loading %s", directory)
    return load_transcriber(directory, config.dtype)


def _page_directory(config: ServeConfig) -> PageDirectory | None:
    path = config.page_directory
    return None if path is None else PageDirectory(path, config.cache_dir_bytes)


def _for_senses(api: ApiSettings, config: ServeConfig, senses: Senses) -> ApiSettings:
    """The settings, with room for photographs and recordings in bodies that are taken."""
    if (senses.sight is None and senses.hearing is None) or config.max_body_bytes:
        return api
    return replace(api, max_body_bytes=SEEING_BODY_BYTES, text_body_bytes=api.max_body_bytes)


def _api_settings(config: ServeConfig) -> ApiSettings:
    return ApiSettings(
        model_id=config.served_id,
        aliases=config.aliases,
        adapters={name: str(place) for name, place in config.adapter_directories.items()},
        created=_created(config),
        max_choices=config.max_choices,
        max_body_bytes=config.max_body_bytes or BODY_BYTES,
        max_answer_tokens=config.max_answer_tokens,
        sampling_defaults=sampling_defaults(config),
        max_grammar_bytes=config.max_grammar_bytes,
        grammar_seconds=config.grammar_seconds,
        moderation=_moderation(config),
        refusals=config.refusals,
        schema_in_prompt=config.schema_in_prompt,
        tool_format=config.tool_format,
        reasoning_format=config.reasoning_format,
        reasoning_budgets=config.thinking_budgets,
        show_reasoning=config.show_reasoning,
        api_keys=tuple(sorted(read_api_keys(config))),
        priority_keys=tuple(sorted(read_priority_keys(config))),
        rate_limit=config.most_a_minute,
        cors_origins=config.cors_origins,
        keep_alive_seconds=config.keep_alive_seconds,
        store=config.store_place,
        store_days=config.store_days,
        store_bytes=config.store_bytes,
        max_file_bytes=config.max_file_bytes,
        max_files_bytes=config.max_files_bytes,
        fetch_images=config.fetch_images,
        max_images=config.max_images,
        max_image_bytes=config.max_image_bytes,
        max_image_pixels=config.max_image_pixels,
        max_audio_bytes=config.max_audio_bytes,
        max_audio_seconds=config.max_audio_seconds,
        max_spoken_seconds=config.max_spoken_seconds,
        audio_seconds=config.audio_seconds,
        max_document_bytes=config.max_document_bytes,
        max_document_pages=config.max_document_pages,
        max_document_characters=config.max_document_characters,
        share_cache_between_keys=config.share_cache_between_keys,
    )


def _moderation(config: ServeConfig) -> ModerationSettings | None:
    if not config.moderation_url:
        return None
    return ModerationSettings(
        config.moderation_url,
        config.moderation_key,
        config.moderation_seconds,
        config.moderation_unanswered,
    )


def _created(config: ServeConfig) -> int:
    try:
        return int((config.model / "config.json").stat().st_mtime)
    except OSError:
        # Why it cannot be read is told where the model is opened.
        return 0


async def _serve(prepared: _Prepared, followers: Leader | None, began: float) -> int:
    config, engine = prepared.config, prepared.loaded.engine
    if followers is not None:
        followers.serve_until_lost(engine.fail)
    bridge, metrics = EngineBridge(engine), Metrics()
    app = create_app(
        bridge,
        prepared.renderer,
        prepared.loaded.tokenizer,
        prepared.end_ids,
        prepared.api,
        metrics,
        prepared.content_filter,
        prepared.senses,
    )

    def start() -> None:
        try:
            _start_with_progress(prepared, bridge, metrics)
        except EngineConfigError as error:
            # Found out by compiling. There is nothing to end in order: no request has been taken.
            _tell(error)
            if followers is not None:
                followers.cannot_start(str(error))
            leave_at_once(2)

    def on_ready() -> None:
        set_aside_what_stays()
        seconds = time.perf_counter() - began
        print(ready_message(config, prepared.port, seconds), flush=True)

    for name, value in engine.info.description.items():
        logger.info("%s: %s", name, value)
    speaker = prepared.senses.speaker

    def in_progress() -> int:
        # Answers that are written may still be spoken.
        return bridge.open or (speaker.open if speaker else 0)

    server = Server(app, engine, in_progress, config)
    code = await server.run(prepared.http, start, on_ready)
    if followers is not None:
        followers.end(code)
    elif not server.started:
        leave_at_once(code)
    if prepared.transcriber is not None:
        prepared.transcriber.close()
    return code


def _start_with_progress(prepared: _Prepared, bridge: EngineBridge, metrics: Metrics) -> None:
    if prepared.transcriber is not None:
        with _progress() as on_progress:
            prepared.transcriber.start(on_progress)
    with _progress() as on_progress:
        prepared.loaded.engine.start(bridge.on_step, metrics.observe_step, on_progress)


@contextmanager
def _progress() -> Generator[Callable[[int, int, str], None]]:
    """What tells of programs ready, of how many: a bar on a terminal, and the log."""
    began = time.perf_counter()
    bar: tqdm[Any] | None = None
    programs = 0

    def on_progress(done: int, total: int, doing: str) -> None:
        nonlocal bar, programs
        programs = total
        if bar is None:
            logger.info("loading or compiling %d programs", total)
            bar = tqdm(total=total, unit="program", disable=None, leave=False)
        bar.set_description(doing, refresh=False)
        bar.update(done - bar.n)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.close()
    logger.info("%d programs are ready after %.1f s", programs, time.perf_counter() - began)


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
