"""From a checkpoint directory and a person's settings to an engine ready to start."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from model.axes import KV_HEADS
from model.cache import bytes_per_token
from model.config import ModelConfig
from model.loading import LoadedModel, OpenedModel, load_end_ids, load_tokenizer, open_model
from model.mesh import parts_on
from model.parameters import count_parameters
from model.tokenizer import Tokenizer
from model.vision.config import AnyVisionConfig
from model.vision.loading import OpenedTower, open_tower, read_vision
from model.vision.parameters import count_tower_parameters
from model.weights.orbax import DIRECTORY
from sampling.params import END_IDS
from serve.engine.cache_tiers import CacheTiers
from serve.engine.compile_cache import keep_programs
from serve.engine.config import (
    MOST_CACHE_TOKENS,
    EngineConfig,
    EngineConfigError,
    default_beside,
    default_draft_tokens,
    least_rows,
)
from serve.engine.engine import Engine
from serve.engine.fingerprint import fingerprint
from serve.engine.host_memory import host_memory
from serve.engine.jax_settings import check_devices, check_settings
from serve.engine.memory import (
    SMALLER_WEIGHTS,
    capacity,
    check_fits,
    check_host_cache,
    model_in_words,
    needs_of,
    numbers_in_words,
    refused_if_exhausted,
    warn_if_not_free,
)
from serve.engine.page_files import PageDirectory
from serve.engine.runner import Followers, Runner
from serve.engine.types import EngineInfo

logger = logging.getLogger(__name__)

# What the cache may take of the memory that is there: on a host that other programs share,
# and on an accelerator after the weights are loaded.
_HOST_SHARE = 0.125
# On a host, where memory that nobody needs is missed elsewhere: so many whole contexts, or so many
# tokens for each row.
_HOST_CONTEXTS, _HOST_ROW_TOKENS = 2, 256
DEVICE_SHARE = 0.85
# What vectors of images may take of a device, unless a person says otherwise.
IMAGE_CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine that has not been started, and what its callers need beside it.

    Attributes:
        engine: the engine.
        runner: what it runs its steps on; a follower's runs those of another host's engine.
        tokenizer: the model's.
        end_ids: ids that end a turn, as the checkpoint declares them.
    """

    engine: Engine
    runner: Runner
    tokenizer: Tokenizer
    end_ids: frozenset[int]


def load_engine(
    directory: Path,
    *,
    tokenizer_directory: Path | None = None,
    dtype: str = "auto",
    weights: str = "full",
    cache_dtype: str = "auto",
    mesh: str = "",
    rows: int = 64,
    context: int = 0,
    page_size: int = 16,
    cache_tokens: int = 0,
    prefill_chunk: int = 256,
    prefill_beside: int = 0,
    queue_limit: int = 512,
    flex_patience: int = 32,
    deterministic: bool = False,
    speculate: str = "off",
    compile_cache: Path | None = None,
    check_integrity: bool = False,
    followers: Followers | None = None,
    adapters: Mapping[str, Path] | None = None,
    host_cache_bytes: int = 0,
    page_directory: PageDirectory | None = None,
    image_cache_bytes: int = 0,
) -> LoadedEngine:
    """Load a checkpoint and build its engine.

    Args:
        directory: the checkpoint.
        tokenizer_directory: has the tokenizer, and what ends a turn; the checkpoint if not given.
        dtype: `auto`, `float32` or `bfloat16`.
        weights: how the layers' matrices are held, one of `WEIGHT_FORMS`.
        cache_dtype: of the cache's pages, one of `CACHE_DTYPES`.
        mesh: devices of each mesh axis, like `data=2,model=4`; all devices if empty.
        rows: most choices decoded in one step.
        context: most tokens of prompt and answer; 0 for what the model was made for.
        page_size: tokens per cache page.
        cache_tokens: tokens the cache holds; 0 for all rows' contexts as far as memory goes.
        prefill_chunk: most prompt tokens in one step.
        prefill_beside: see `EngineConfig`; 0 for what suits the platform.
        queue_limit: most choices that wait.
        flex_patience: see `EngineConfig`.
        deterministic: see `EngineConfig`.
        speculate: `ngram` to draft by `EngineConfig.ngrams`, or `off`.
        compile_cache: directory of JAX's persistent compilation cache, or None for none but
            what JAX's own settings name.
        check_integrity: see `EngineConfig`.
        followers: see `Runner`.
        adapters: directories of adapters, by the names that requests may ask for.
        host_cache_bytes: see `EngineConfig`.
        page_directory: keeps pages over restarts.
        image_cache_bytes: what vectors of images may take of a device, so that one which comes
            again is not looked at again; 0 for 256 MiB, and no more than the cache has tokens.

    Raises:
        CheckpointError: the directory cannot be served, or an adapter's with it.
        TokenizerError: its tokenizer cannot be read.
        MeshError: the model cannot be divided as the mesh asks.
        EngineConfigError: the settings cannot work, those of JAX included, or there is not enough
            memory for them.
    """
    check_settings()
    check_devices()
    if jax.process_count() > 1 and (host_cache_bytes or page_directory):
        raise EngineConfigError(
            "host_cache_bytes and cache_dir are for a server of one process; leave out "
            "--host-cache-bytes and --cache-dir"
        )
    kept = None if compile_cache is None else keep_programs(compile_cache)
    opened = open_model(directory, mesh, dtype, weights, cache_dtype, adapters)
    texts = tokenizer_directory or directory
    tokenizer = load_tokenizer(texts, opened.config)
    end_ids = load_end_ids(texts, opened.config, tokenizer)
    length = _context_length(context, opened.config)
    config = EngineConfig(
        context_length=length,
        cache_tokens=cache_tokens or length,
        max_rows=rows,
        page_size=page_size,
        prefill_chunk=prefill_chunk,
        prefill_beside=prefill_beside or default_beside(jax.default_backend(), prefill_chunk),
        queue_limit=queue_limit,
        flex_patience=flex_patience,
        deterministic=deterministic,
        check_integrity=check_integrity,
        least_rows=least_rows(jax.default_backend()),
        # The checkpoint's, and the one that its template may write after the assistant's words.
        end_ids=max(END_IDS, len(end_ids) + 1),
        ngrams=speculate == "ngram",
        draft_tokens=default_draft_tokens(jax.default_backend()),
        host_cache_bytes=host_cache_bytes,
        has_page_directory=page_directory is not None,
    )
    tower = _open_tower(directory, opened, dtype)
    if tower is not None:
        config = seeing(config, tower.config, tower.dtype, image_cache_bytes)
    vision = tower and tower.config
    check_host_cache(config, host_memory())
    needs, there = needs_of(opened, config, vision), capacity(opened.mesh)
    check_fits(needs, there)
    warn_if_not_free(needs, there)
    with refused_if_exhausted(model_in_words(opened), SMALLER_WEIGHTS):
        model, loaded_tower = opened.load(), tower and tower.load()
    if model.backend.fallback:
        logger.warning("attention runs in plain JAX, slower: %s", model.backend.fallback)
    model = replace(model, config=model.config.for_context(length))
    if not cache_tokens:
        config = replace(config, cache_tokens=_default_cache_tokens(model, config))
    info = EngineInfo(
        context_length=length,
        vocab_size=model.config.vocab_size,
        fingerprint=fingerprint(directory, model, config, (adapters or {}).values(), vision),
        description=_description(model, config, vision),
        most_choices=config.most_choices,
        adapters=() if model.adapters is None else model.adapters.names,
        vision=vision,
        image_tokens=0 if vision is None else min(vision.most_tokens, config.image_vectors),
    )
    runner = Runner(model, config, followers, kept, loaded_tower)
    cache_tiers = _cache_tiers(model, config, page_directory, info.fingerprint)
    return LoadedEngine(Engine(runner, config, info, cache_tiers), runner, tokenizer, end_ids)


def _open_tower(directory: Path, opened: OpenedModel, dtype: str) -> OpenedTower | None:
    """The tower of a model that sees, None for one of text, or where it cannot see here."""
    vision = read_vision(directory)
    if vision is None:
        return None
    if reason := _blindness(directory):
        logger.warning("images are refused, and text is served: %s", reason)
        return None
    return open_tower(directory, opened.mesh, dtype)


def _blindness(directory: Path) -> str:
    """Why a model that could see does not; empty if it does."""
    if jax.process_count() > 1:
        return "they are for a server of one process"
    if (directory / DIRECTORY).is_dir():
        return "parlance convert left out of this checkpoint what sees; give it as it was published"
    return ""


def seeing(
    config: EngineConfig, vision: AnyVisionConfig, dtype: jnp.dtype, image_cache_bytes: int = 0
) -> EngineConfig:
    """The settings of an engine whose model sees.

    Args:
        config: those of one of text.
        vision: the tower's shape.
        dtype: of vectors.
        image_cache_bytes: see `load_engine`.

    Raises:
        EngineConfigError: there is no room for an image.
    """
    each = (1 + len(vision.deepstack)) * vision.out_dim * dtype.itemsize
    largest = min(vision.most_tokens, config.context_length)
    if image_cache_bytes and image_cache_bytes < largest * each:
        raise EngineConfigError(
            f"image_cache_bytes is {image_cache_bytes}, and an image takes {largest * each}; give "
            f"room for one at least, or 0 for what suits (--image-cache-bytes)"
        )
    room = (image_cache_bytes or IMAGE_CACHE_BYTES) // each
    return replace(
        config,
        image_vectors=max(largest, min(room, config.num_pages * config.page_size)),
        whole_image=vision.most_tokens if vision.sees_ahead else 0,
    )


def _cache_tiers(
    model: LoadedModel, config: EngineConfig, directory: PageDirectory | None, maker: str
) -> CacheTiers:
    page_bytes = config.page_size * _cached_bytes(model)
    if 0 < config.host_cache_bytes < page_bytes:
        raise EngineConfigError(
            f"host_cache_bytes is {config.host_cache_bytes}, and a page takes {page_bytes}; give "
            f"room for many pages, or 0 for none (--host-cache-bytes)"
        )
    if directory is not None:
        directory.made_by(f"{maker} {model.backend.layout} {page_bytes}")
    return CacheTiers(config.host_cache_bytes, page_bytes, directory)


def _context_length(context: int, config: ModelConfig) -> int:
    if context > config.context_length:
        raise EngineConfigError(
            f"context is {context}; this model was made for at most {config.context_length}"
        )
    return context or config.context_length


def _default_cache_tokens(model: LoadedModel, config: EngineConfig) -> int:
    """What is of use, as far as memory allows, but at least one context.

    On an accelerator every row's whole context; on a host less.
    """
    wanted = config.max_rows * config.context_length
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        spare = stats["bytes_limit"] - stats["bytes_in_use"]
        # Rows are divided too, but every device keeps its heads of every row's pages.
        memory = DEVICE_SHARE * spare * parts_on(model.mesh, KV_HEADS)
    else:
        memory = _HOST_SHARE * host_memory().physical
        contexts, rows = _HOST_CONTEXTS * config.context_length, config.max_rows
        wanted = min(wanted, max(contexts, rows * _HOST_ROW_TOKENS))
    fits = int(memory) // _cached_bytes(model)
    most = MOST_CACHE_TOKENS // config.page_size * config.page_size
    wanted = min(wanted, fits, most)
    if jax.process_count() > 1:
        # One pool for all hosts: the one with the least memory decides.
        wanted = int(process_allgather(np.int32(wanted)).min())
    return max(config.context_length, wanted)


def _cached_bytes(model: LoadedModel) -> int:
    backend = model.backend
    return bytes_per_token(model.config, backend.layout, model.page_dtype, backend.heads)


def _description(
    model: LoadedModel, config: EngineConfig, vision: AnyVisionConfig | None
) -> dict[str, str]:
    device = jax.devices()[0]
    mesh = ", ".join(f"{name}={size}" for name, size in model.mesh.shape.items())
    gibibytes = config.num_pages * config.page_size * _cached_bytes(model) / 2**30
    described = {
        "parameters": f"{count_parameters(model.config) / 1e6:.1f} M, "
        f"{numbers_in_words(model.config, model.dtype)}",
        "devices": f"{model.mesh.size} × {device.device_kind}, mesh {mesh}",
        "attention": model.backend.name,
        "cache": f"{config.num_pages} pages of {config.page_size} tokens in {model.page_dtype}, "
        f"{gibibytes:.2f} GiB",
        "tokens of a step": ", ".join(map(str, config.token_buckets)),
        "tokens sampled together": ", ".join(map(str, config.row_buckets)),
        "mode": "deterministic" if config.deterministic else "fast",
    }
    if (adapters := model.adapters) is not None:
        described["adapters"] = f"{', '.join(adapters.names)}, as rank {adapters.shape.rank}"
    if vision is not None:
        count = count_tower_parameters(vision) / 1e6
        described["vision tower"] = (
            f"{count:.1f} M parameters, vectors of {config.image_vectors} tokens are kept"
        )
    return described
