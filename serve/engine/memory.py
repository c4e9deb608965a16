"""Whether what an engine needs fits the memory that there is: known before it is allocated.

Only what cannot work is refused. On a host, memory that other programs hold now counts as there,
and so does swap space, but there is a warning. What an allocation needs beyond its arrays is not
known: an accelerator may still refuse one, which is told in the same way.
"""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from model.cache import abstract_cache
from model.config import AdapterShape, ModelConfig
from model.loading import LoadedModel, OpenedModel
from model.mesh import replicated
from model.parameters import abstract_parameters, adapter_specs, bits_of
from model.small import form_in_words
from model.vision.config import AnyVisionConfig
from model.vision.parameters import tower_bytes
from sampling.batch import empty_rows
from serve.engine.cache_tiers import MOST_LEAVING_BYTES
from serve.engine.config import EngineConfig, EngineConfigError
from serve.engine.host_memory import HostMemory, host_memory
from serve.engine.programs import cache_sizes, vectors_shape

logger = logging.getLogger(__name__)

LOWER_ROWS = "lower rows (--rows)"
LOWER_CACHE = "lower cache_tokens (--cache-tokens)"
LOWER_CHUNK = "lower prefill_chunk (--prefill-chunk)"
LOWER_HOST_CACHE = "lower host_cache_bytes (--host-cache-bytes)"
LOWER_IMAGES = "lower image_cache_bytes (--image-cache-bytes)"
LOWER_PAGE = "lower page_size (--page-size)"
FEWER_ADAPTERS = "give fewer adapters (--adapter), or such of a lower rank"
SMALLER_WEIGHTS = (
    "take bfloat16 as dtype (--dtype), int8 or int4 as weights (--weights), more devices, or a "
    "smaller model"
)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that is kept on each device.

    Attributes:
        what: in words, with the number that was asked for.
        bytes: of one device.
        remedy: what to do if it is too much.
    """

    what: str
    bytes: int
    remedy: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """The memory of one device.

    Attributes:
        bytes: that it has.
        free: that nothing uses now; where several CPU devices share a host, a part of it.
        who: has it, in words.
    """

    bytes: int
    free: int
    who: str


def capacity(mesh: Mesh) -> Capacity:
    """The memory of that device of this process which has least."""
    devices = mesh.local_devices
    # Any, because JAX's types leave the dictionary's out; a CPU device has none.
    stats: list[Any] = [device.memory_stats() for device in devices]
    limits = [entry["bytes_limit"] for entry in stats if entry and entry.get("bytes_limit")]
    if limits:
        return Capacity(min(limits), min(limits), "each device has")
    host, count = host_memory(), len(devices)
    who = f"this host lets {'it' if count == 1 else f'each of {count} devices'} have"
    return Capacity(host.total // count, host.available // count, who)


def bytes_of(tree: Any) -> int:
    """What arrays, or the shapes of some that are to be, take of each of their devices."""
    return sum(
        -(-prod(leaf.sharding.shard_shape(leaf.shape)) * bits_of(leaf.dtype) // 8)
        for leaf in jax.tree.leaves(tree)
    )


def working_bytes(program: Any) -> int:
    """What a compiled program takes of each device while it runs, besides its arguments."""
    memory: Any = program.memory_analysis()
    if memory is None:
        return 0
    made = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return memory.temp_size_in_bytes + max(0, made)


def needs_of(
    model: OpenedModel | LoadedModel, config: EngineConfig, vision: AnyVisionConfig | None = None
) -> list[Need]:
    """What an engine keeps from its start on, with a tower of the shape `vision` if it sees."""
    whole = replicated(model.mesh)
    sizes = cache_sizes(config, model.page_dtype, model.backend)
    cache, _ = abstract_cache(model.config, model.mesh, **sizes)
    rows: Any = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole),
        jax.eval_shape(
            partial(empty_rows, config.max_rows, model.config.vocab_size, config.end_ids)
        ),
    )
    weights = abstract_parameters(model.config, model.dtype, model.mesh)
    tokens = config.num_pages * config.page_size
    adapters = [] if model.adapters is None else [_adapters_need(model, model.adapters.shape)]
    return [
        Need(model_in_words(model), bytes_of(weights), SMALLER_WEIGHTS),
        Need(
            f"a cache of {tokens} tokens",
            bytes_of(cache.layers),
            _smaller_cache(config),
        ),
        Need(
            f"what {config.max_rows} rows of {config.context_length} tokens keep",
            bytes_of((cache.tables, rows)),
            LOWER_ROWS,
        ),
        *adapters,
        *([] if vision is None else _sight_needs(model, config, vision)),
        *_tier_needs(model, config),
    ]


def _sight_needs(
    model: OpenedModel | LoadedModel, config: EngineConfig, vision: AnyVisionConfig
) -> list[Need]:
    tower = tower_bytes(vision, model.dtype, model.mesh)
    vectors = bytes_of(vectors_shape(vision, config, model.dtype, model.mesh))
    return [
        Need(f"the vision tower in {model.dtype}", tower, SMALLER_WEIGHTS),
        Need(f"vectors of {config.image_vectors} tokens of images", vectors, LOWER_IMAGES),
    ]


def _tier_needs(model: OpenedModel | LoadedModel, config: EngineConfig) -> list[Need]:
    """What pages that leave the cache take: on their way, and in memory that is the devices'."""
    if not config.moves_pages:
        return []
    way = "what is on its way out of the cache"
    needs = [Need(way, MOST_LEAVING_BYTES, "leave out --host-cache-bytes and --cache-dir")]
    devices = model.mesh.local_devices
    if config.host_cache_bytes and not devices[0].memory_stats():
        host = config.host_cache_bytes // len(devices)
        needs.append(Need("a host cache", host, LOWER_HOST_CACHE))
    return needs


def check_host_cache(config: EngineConfig, there: HostMemory) -> None:
    """Refuse a host cache that no host memory can hold, whatever the devices have.

    Raises:
        EngineConfigError: there is not so much memory.
    """
    if config.host_cache_bytes > there.total:
        raise EngineConfigError(
            f"a host cache takes {_gib(config.host_cache_bytes)}, and this host has "
            f"{_gib(there.total)}; {LOWER_HOST_CACHE}"
        )


def _adapters_need(model: OpenedModel | LoadedModel, shape: AdapterShape) -> Need:
    held = replace(model.config, adapters=shape)
    parameters = abstract_parameters(held, model.dtype, model.mesh)
    weights = {name: parameters[name] for name in adapter_specs(held)}
    what = f"what holds {shape.count} adapters of rank {shape.rank}"
    return Need(what, bytes_of(weights), FEWER_ADAPTERS)


def model_in_words(model: OpenedModel | LoadedModel) -> str:
    """What to call the weights where they take memory."""
    return f"the model in {numbers_in_words(model.config, model.dtype)}"


def numbers_in_words(config: ModelConfig, dtype: jnp.dtype) -> str:
    """How weights are held, like `bfloat16, matrices in int8`."""
    form = form_in_words(config.weight_form)
    return f"{dtype}, matrices in {form}" if form else str(dtype)


def _smaller_cache(config: EngineConfig) -> str:
    if config.cache_tokens > config.context_length:
        return LOWER_CACHE
    if config.page_size > config.context_length:
        return LOWER_PAGE
    return "lower context (--context)"


def program_in_words(program: str, size: int) -> tuple[str, str]:
    """What to call a program, and what to do if it needs too much memory."""
    if program == "look":
        return f"looking at {size} patches of images", SMALLER_WEIGHTS
    if program in ("forward", "adapted", "seeing"):
        return f"a step of {size} tokens", LOWER_CHUNK
    if program == "prompt_logprobs":
        return f"log-probabilities at {size} places of a prompt", SMALLER_WEIGHTS
    if program in ("take", "fill"):
        return f"moving {size} pages", LOWER_PAGE
    if program == "copy":
        return f"copying {size} pages", LOWER_PAGE
    return f"sampling for {size} rows ({program})", LOWER_ROWS


def hungriest(programs: Mapping[tuple[str, int], Any]) -> Need:
    """The compiled program that takes most while it runs; only one does at a time."""
    key = max(programs, key=lambda key: working_bytes(programs[key]))
    what, remedy = program_in_words(*key)
    return Need(what, working_bytes(programs[key]), remedy)


def check_fits(needs: Sequence[Need], there: Capacity) -> None:
    """Refuse what cannot be kept at the same time.

    Args:
        needs: of each device.
        there: the memory of a device.

    Raises:
        EngineConfigError: there is not so much memory; names the largest need.
    """
    if sum(need.bytes for need in needs) > there.bytes:
        takes, largest = _in_words(needs)
        raise EngineConfigError(f"{takes}, and {there.who} {_gib(there.bytes)}; {largest.remedy}")


def warn_if_not_free(needs: Sequence[Need], there: Capacity) -> None:
    """Tell of what can be kept only if other programs make room."""
    if sum(need.bytes for need in needs) > there.free:
        takes, largest = _in_words(needs)
        logger.warning(
            "%s, and only %s of what %s are free now; if the system ends this process, %s",
            takes,
            _gib(there.free),
            there.who,
            largest.remedy,
        )


def _in_words(needs: Sequence[Need]) -> tuple[str, Need]:
    largest = max(needs, key=lambda need: need.bytes)
    together = sum(need.bytes for need in needs)
    return f"{largest.what} takes {_gib(largest.bytes)}, with all else {_gib(together)}", largest


@contextmanager
def refused_if_exhausted(what: str, remedy: str) -> Generator[None]:
    """Tell of memory that cannot be had as of a setting that cannot work.

    Args:
        what: takes the memory.
        remedy: what to do.

    Raises:
        EngineConfigError: there was not enough memory.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = str(error).partition("\n")[0]
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in reason:
            raise
        raise EngineConfigError(
            f"there is not enough memory for {what} ({reason}); {remedy}"
        ) from error


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
