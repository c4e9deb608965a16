"""The programs that a runner compiles: each function with its shapes, for every bucket.

Made from shapes alone, so that a plan for devices that are not there compiles the very programs
that a server would run on them. Knows nothing of plans and sequences.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.stages import Lowered
from jaxtyping import Array, Float, Int

from model import steps
from model.backends import Backend
from model.cache import Cache, page_layout, taken_sharding
from model.config import AdapterShape, ModelConfig
from model.mesh import replicated
from model.paged import KEYS_PER_TURN
from model.parameters import Parameters, Shape
from model.vision.config import AnyVisionConfig
from model.vision.inputs import TowerInputs, abstract_inputs, sizes_for
from model.vision.tower import look
from sampling.batch import (
    Rows,
    bias_of,
    load_bias,
    load_masks,
    load_prompts,
    load_rows,
    mask_words,
    recount,
    row_settings,
    sampled_chunks,
)
from sampling.logprobs import ranked_logprobs, top_logprobs
from sampling.sampler import sample
from serve.engine.calls import LOAD_WIDTH, PLACES
from serve.engine.config import EngineConfig
from serve.engine.page_calls import MOVE_WIDTHS


class DeviceState(NamedTuple):
    """What the device keeps from step to step, as shapes, dtypes and places.

    Attributes:
        parameters: the weights.
        cache: pages and page tables.
        rows: the sampler's.
        adapters: the weights of adapters, if there are any.
        tower: the weights of the vision tower, if there is one.
        vectors: of images.
    """

    parameters: dict[str, Shape]
    cache: Cache
    rows: Rows
    adapters: Mapping[str, Shape] | None = None
    tower: Mapping[str, Shape] | None = None
    vectors: Shape | None = None


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """A program that is not compiled yet.

    Attributes:
        function: of arrays.
        mesh: the devices that it runs on.
        donate: positions of the arguments whose buffers the results take over.
        out: how the results lie on the mesh.
        arguments: their shapes, dtypes and places.
    """

    function: Callable[..., Any]
    mesh: Mesh
    donate: tuple[int, ...]
    out: Any
    arguments: tuple[Any, ...]

    def lower(self) -> Lowered:
        """Trace it."""
        return steps.lower_step(self.function, self.mesh, self.donate, self.out, *self.arguments)

    def compile(self) -> Callable[..., Any]:
        """Trace and compile it."""
        return steps.compile_step(self.function, self.mesh, self.donate, self.out, *self.arguments)


def table_width(config: EngineConfig) -> int:
    """Entries of a row's page table: a context's pages, in whole blocks of the plain backend."""
    block = max(1, KEYS_PER_TURN // config.page_size)
    return -(-config.pages_for(config.context_length) // block) * block


def cache_sizes(config: EngineConfig, dtype: jnp.dtype, backend: Backend) -> dict[str, Any]:
    """What `empty_cache` and `abstract_cache` ask for."""
    return {
        "pages": config.num_pages,
        "page_size": config.page_size,
        "rows": config.max_rows,
        "table_width": table_width(config),
        "dtype": dtype,
        "layout": backend.layout,
        "heads": backend.heads,
    }


def vectors_shape(
    vision: AnyVisionConfig, config: EngineConfig, dtype: jnp.dtype, mesh: Mesh
) -> jax.ShapeDtypeStruct:
    """[added, V, D]: what is kept of images; see `steps.StepSight`."""
    shape = (1 + len(vision.deepstack), config.image_vectors, vision.out_dim)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=replicated(mesh))


def program_specs(
    model: ModelConfig,
    config: EngineConfig,
    mesh: Mesh,
    device: DeviceState,
    adapters: AdapterShape | None = None,
    vision: AnyVisionConfig | None = None,
) -> dict[tuple[str, int], ProgramSpec]:
    """Every program of every bucket, by name and size, those that compile longest first.

    Args:
        model: the decoder.
        config: the engine's settings.
        mesh: the devices.
        device: what they keep.
        adapters: of which rows may have one. A step whose rows have none is `forward`, and knows
            nothing of adapters; with some it is `adapted`.
        vision: the shape of the tower, for a model that sees. A step with images is `seeing`,
            whatever adapters its rows have.
    """
    whole = replicated(mesh)

    def array(shape: tuple[int, ...], dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=whole)

    parameters, cache, rows, adapted, tower, vectors = device
    vocab, width = model.vocab_size, table_width(config)
    cache_out: Any = jax.tree.map(lambda x: x.sharding, cache)
    rows_out: Any = jax.tree.map(lambda _: whole, rows)
    specs: dict[tuple[str, int], ProgramSpec] = {}

    def add(
        name: str, size: int, function: Callable[..., Any], donate: int, out: Any, *args: Any
    ) -> None:
        donated = (donate,) if donate >= 0 else ()
        specs[name, size] = ProgramSpec(function, mesh, donated, out, args)

    last, picks = rows.last_token, array((config.max_rows,))
    (norm,) = jax.tree.leaves(parameters["norm.weight"])
    dtype = norm.dtype
    picked = array((config.max_rows, model.embed_dim), dtype)
    has_axes = vision is not None and vision.has_axes

    def step_inputs(size: int) -> steps.StepInputs:
        turns = array((3, size)) if has_axes else None
        return steps.StepInputs(array((4, size)), array((3, min(size, config.max_rows))), turns)

    out = (whole, whole, cache_out)
    for size in reversed(config.token_buckets):
        inputs, step = step_inputs(size), partial(_forward, model)
        if adapted is None or not config.deterministic:
            add("forward", size, step, 1, out, parameters, cache, last, inputs, picks)
        if adapted is not None:
            step = partial(_forward, replace(model, adapters=adapters))
            both, slots = {**parameters, **adapted}, array((config.max_rows,))
            add("adapted", size, step, 1, out, both, cache, last, inputs, picks, slots)
    if vision is not None and vectors is not None:
        step = partial(_seeing, replace(model, adapters=adapters))
        both, slots = {**parameters, **(adapted or {})}, adapted and array((config.max_rows,))
        for size in reversed(config.seeing_buckets):
            places, ends = array((size,)), array((size,)) if vision.sees_ahead else None
            sight = (slots, vectors, places, ends)
            add("seeing", size, step, 1, out, both, cache, last, step_inputs(size), picks, *sight)
        seer = partial(_look, vision)
        for size in reversed(sizes_for(vision, config.context_length)):
            patches, slots = abstract_inputs(vision, size, whole), array((vision.tokens(size),))
            add("look", size, seer, 1, whole, tower, vectors, patches, slots)
    for size in reversed(config.row_buckets):
        where, logits = array((2, size)), array((size, vocab), jnp.float32)
        step = partial(draw, model)
        out = (rows_out, whole, whole)
        add("draw", size, step, 1, out, parameters, rows, picked, where, where)
        add("logprobs", size, top_logprobs, -1, (whole,) * 3, logits, array((size,)))
    hidden = array((PLACES, model.embed_dim), dtype)
    tell = partial(_prompt_logprobs, model)
    add("prompt_logprobs", PLACES, tell, -1, (whole,) * 4, parameters, hidden, array((PLACES,)))
    bits: Any = np.zeros((LOAD_WIDTH, mask_words(vocab)), np.uint32)
    loads = {
        "load": (load_rows, array((LOAD_WIDTH,)), row_settings([], LOAD_WIDTH, config.end_ids)),
        "load_bias": (load_bias, array((LOAD_WIDTH,)), bias_of([], LOAD_WIDTH)),
        "recount": (recount, *sampled_chunks([], LOAD_WIDTH)),
        "load_prompts": (load_prompts, array((LOAD_WIDTH,)), bits),
        "load_masks": (load_masks, array((LOAD_WIDTH,)), bits),
    }
    for name, (function, *args) in loads.items():
        shapes = jax.tree.map(lambda x: array(x.shape, x.dtype), args)
        add(name, LOAD_WIDTH, function, 0, rows_out, rows, *shapes)
    slots = array((LOAD_WIDTH,))
    tables = array((LOAD_WIDTH, width))
    add("seat", LOAD_WIDTH, steps.seat, 0, cache_out, cache, slots, tables)
    add("copy", LOAD_WIDTH, steps.copy_pages, 0, cache_out, cache, slots, slots)
    if config.moves_pages:
        place = taken_sharding(mesh, page_layout(cache))
        for size in MOVE_WIDTHS:
            pages = array((size,))
            shape = jax.eval_shape(steps.take_pages, cache, pages)
            held = jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place)
            add("take", size, steps.take_pages, -1, place, cache, pages)
            add("fill", size, steps.fill_pages, 0, cache_out, cache, held, pages)
    return specs


def _forward(
    model: ModelConfig, *inputs: Any
) -> tuple[Float[Array, "R D"], list[Float[Array, "P D"]], Cache]:
    """`steps.forward`, with the hidden vectors of all tokens in parts that are of one size."""
    picked, hidden, cache = steps.forward(model, *inputs)
    padded = jnp.pad(hidden, ((0, -len(hidden) % PLACES), (0, 0)))
    return picked, jnp.split(padded, len(padded) // PLACES), cache


def _seeing(
    model: ModelConfig,
    parameters: Parameters,
    cache: Cache,
    last_token: Int[Array, " R"],
    inputs: steps.StepInputs,
    picks: Int[Array, " P"],
    adapters: Int[Array, " R"] | None,
    *sight: Any,
) -> tuple[Float[Array, "R D"], list[Float[Array, "P D"]], Cache]:
    """`_forward` of a step that has tokens of images."""
    seen = steps.StepSight(*sight)
    return _forward(model, parameters, cache, last_token, inputs, picks, adapters, seen)


def _look(
    vision: AnyVisionConfig,
    parameters: Mapping[str, Array],
    vectors: Float[Array, "added V D"],
    inputs: TowerInputs,
    slots: Int[Array, " T"],
) -> Float[Array, "added V D"]:
    """The vectors with those of a call's images in their slots."""
    made = look(vision, parameters, inputs)
    both = jnp.concatenate([made.vectors[None], made.deepstack]).astype(vectors.dtype)
    return vectors.at[:, slots].set(both, mode="drop")


def draw(
    model: ModelConfig,
    parameters: Parameters,
    rows: Rows,
    picked: Float[Array, "R D"],
    where: Int[Array, "2 B"],
    drafts: Int[Array, "2 B"],
) -> tuple[Rows, Int[Array, " B"], Float[Array, "B V"]]:
    """`sample` from the logits after the first picked tokens, and those."""
    logits = steps.logits(model, parameters, picked[: where.shape[1]])
    return *sample(rows, logits, where, drafts), logits


def _prompt_logprobs(
    model: ModelConfig,
    parameters: Parameters,
    hidden: Float[Array, "P D"],
    tokens: Int[Array, " P"],
) -> tuple[Array, ...]:
    """The results of `ranked_logprobs` for the token that comes after each of a prompt's."""
    return ranked_logprobs(steps.logits(model, parameters, hidden), tokens)
