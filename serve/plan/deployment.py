"""A model on a slice: how it is divided, and what it takes of each device, before compiling.

Arithmetic and shapes alone. What the engine would choose by itself at start-up is chosen here
by the same code.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh

from model.axes import KV_HEADS
from model.backends import Backend, backend_on, choose_backend
from model.cache import abstract_cache, bytes_per_token
from model.config import ModelConfig
from model.layout import laid_out
from model.loading import CACHE_DTYPES
from model.memory_layout import parameter_places
from model.mesh import (
    DATA,
    MODEL,
    MeshError,
    MeshShape,
    choose_mesh,
    make_mesh,
    parts_on,
    replicated,
)
from model.parameters import abstract_parameters, held_bytes, parameter_specs
from model.small import form_on
from model.vision.config import AnyVisionConfig
from model.vision.parameters import abstract_tower_parameters, tower_bytes
from sampling.batch import empty_rows
from serve.engine.config import EngineConfig, least_rows
from serve.engine.loading import DEVICE_SHARE, IMAGE_CACHE_BYTES, seeing
from serve.engine.programs import (
    DeviceState,
    ProgramSpec,
    cache_sizes,
    program_specs,
    vectors_shape,
)
from serve.plan.chips import Slice
from serve.plan.compiler import slice_devices
from serve.plan.errors import PlanError


@dataclass(frozen=True, slots=True)
class Workload:
    """What a server is asked to hold.

    Attributes:
        rows: choices decoded in one step.
        context: tokens of each.
        page_size: tokens of a page.
        prefill_chunk: prompt tokens of one step.
        dtype: of weights, and of pages unless told otherwise.
        weights: how the layers' matrices are held, one of `WEIGHT_FORMS`.
        cache_dtype: of pages, one of `CACHE_DTYPES`.
        tower: that sees for the model; None for one of text.
    """

    rows: int = 64
    context: int = 2048
    page_size: int = 16
    prefill_chunk: int = 256
    dtype: str = "bfloat16"
    weights: str = "full"
    cache_dtype: str = "auto"
    tower: AnyVisionConfig | None = None

    @property
    def page_dtype(self) -> jnp.dtype:
        """Of the cache's pages."""
        return CACHE_DTYPES[self.cache_dtype] or jnp.dtype(self.dtype)

    @property
    def form(self) -> str:
        """`ModelConfig.weight_form` on a TPU."""
        return form_on("tpu", self.weights, jnp.dtype(self.dtype))

    @property
    def tokens(self) -> int:
        """That are in the cache when every row is full."""
        return self.rows * self.context


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes of one device, and what the cache comes to.

    Attributes:
        hbm: that programs can use.
        weights: of the decoder.
        tower: weights of what sees.
        vectors: of images, where it is not a small cache that bounds them.
        state: of the sampler's rows and the page tables.
        page: of one page, over all layers.
        pages_wanted: that hold every row's context.
        pages: that a server would make: those, as far as memory goes.
    """

    hbm: int
    weights: int
    tower: int
    vectors: int
    state: int
    page: int
    pages_wanted: int
    pages: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model on a slice.

    Attributes:
        where: the slice.
        config: the decoder as the mesh holds it.
        mesh: of the slice's devices.
        dtype: of weights.
        page_dtype: of pages.
        backend: of attention.
        engine: the settings that a server would have.
        budget: of each device.
        tower: that sees for the model; None for one of text.
    """

    where: Slice
    config: ModelConfig
    mesh: Mesh
    dtype: jnp.dtype
    page_dtype: jnp.dtype
    backend: Backend
    engine: EngineConfig
    budget: Budget
    tower: AnyVisionConfig | None = None

    def programs(self) -> dict[tuple[str, int], ProgramSpec]:
        """What a server's runner would compile here."""
        places = parameter_places(self.config, self.dtype, self.mesh, self.page_dtype)
        parameters = abstract_parameters(self.config, self.dtype, self.mesh, places)
        sizes = cache_sizes(self.engine, self.page_dtype, self.backend)
        cache, _ = abstract_cache(self.config, self.mesh, **sizes)
        whole = replicated(self.mesh)
        rows: Any = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole),
            _rows(self.config, self.engine.max_rows),
        )
        tower = vectors = None
        if self.tower is not None:
            tower = abstract_tower_parameters(self.tower, self.dtype, self.mesh)
            vectors = vectors_shape(self.tower, self.engine, self.dtype, self.mesh)
        state = DeviceState(parameters, cache, rows, None, tower, vectors)
        return program_specs(self.config, self.engine, self.mesh, state, vision=self.tower)


def budget(config: ModelConfig, where: Slice, mesh: MeshShape, work: Workload) -> Budget:
    """What a model takes of each device of a slice.

    Args:
        config: the decoder as published.
        where: the slice.
        mesh: of its devices.
        work: what it is to hold.
    """
    shape = AbstractMesh(mesh, (DATA, MODEL), (AxisType.Auto,) * 2)
    held = laid_out(config, shape, work.form)
    dtype, heads = jnp.dtype(work.dtype), parts_on(shape, KV_HEADS)
    weights = int(
        sum(held_bytes(held, spec, dtype, shape) for spec in parameter_specs(held).values())
    )
    backend = choose_backend(held, "tpu", held.held_kv_heads // heads, work.page_dtype)
    token = bytes_per_token(held, backend.layout, work.page_dtype, backend.heads)
    page = work.page_size * token // heads
    wanted = work.rows * -(-work.context // work.page_size)
    state = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(_rows(held, work.rows)))
    tower = vectors = 0
    if work.tower is not None:
        tower, vectors = tower_bytes(work.tower, dtype, shape), IMAGE_CACHE_BYTES
    spare = where.chip.hbm - weights - tower - vectors - state
    possible = max(0, int(DEVICE_SHARE * spare)) // page
    pages = min(wanted, possible)
    return Budget(where.chip.hbm, weights, tower, vectors, state, page, wanted, pages)


def _rows(config: ModelConfig, rows: int) -> Any:
    return jax.eval_shape(partial(empty_rows, rows, config.vocab_size))


def check_context(config: ModelConfig, work: Workload) -> None:
    """Refuse a context that the model was not made for.

    Raises:
        PlanError: that is so.
    """
    if work.context > config.context_length:
        raise PlanError(
            f"context is {work.context}; this model was made for at most {config.context_length}"
        )


def divided(
    config: ModelConfig, where: Slice, work: Workload, wanted: MeshShape | None = None
) -> tuple[MeshShape, Budget]:
    """How a model is divided over a slice, and what it takes there. Needs no compiler.

    Raises:
        PlanError: not even one context fits, or the model was not made for it.
        MeshError: the model cannot be divided so.
    """
    check_context(config, work)
    shape = choose_mesh(config, where.devices, wanted)
    takes = budget(config, where, shape, work)
    if takes.pages * work.page_size < work.context:
        raise PlanError(does_not_fit(takes, where, work))
    return shape, takes


def deploy(
    config: ModelConfig, where: Slice, work: Workload, wanted: MeshShape | None = None
) -> Deployment:
    """A model on the devices of a slice.

    Args:
        config: the decoder as published.
        where: the slice.
        work: what it is to hold.
        wanted: how to divide it; None for what a server would choose.

    Raises:
        PlanError: the slice cannot be compiled for, or not even one context fits it.
        MeshError: the model cannot be divided so.
        EngineConfigError: the settings cannot work together.
    """
    shape, takes = divided(config, where, work, wanted)
    mesh = make_mesh(*shape, devices=slice_devices(where))
    held = laid_out(config.for_context(work.context), mesh, work.form)
    dtype = jnp.dtype(work.dtype)
    engine = EngineConfig(
        context_length=work.context,
        cache_tokens=takes.pages * work.page_size,
        max_rows=work.rows,
        page_size=work.page_size,
        prefill_chunk=work.prefill_chunk,
        least_rows=least_rows("tpu"),
    )
    if work.tower is not None:
        engine = seeing(engine, work.tower, dtype)
    pages = work.page_dtype
    backend = backend_on(mesh, held, pages)
    return Deployment(where, held, mesh, dtype, pages, backend, engine, takes, work.tower)


def does_not_fit(takes: Budget, where: Slice, work: Workload) -> str:
    """Why not, and what to do, in a sentence."""
    gib, weights = 2**30, takes.weights + takes.tower
    return (
        f"does not fit {where.topology}: a device has {takes.hbm / gib:.1f} GiB, the weights take "
        f"{weights / gib:.1f} of it and the pages of one context of {work.context} tokens "
        f"{-(-work.context // work.page_size) * takes.page / gib:.2f}; choose a larger slice"
    )


def proposals(
    config: ModelConfig, work: Workload, slices: list[list[Slice]]
) -> list[tuple[Slice, Budget]]:
    """The smallest slice of each kind of chip on which every row's context fits.

    Args:
        config: the decoder as published.
        work: what is to be held.
        slices: of each kind of chip, from small to large.
    """
    check_context(config, work)
    found: list[tuple[Slice, Budget]] = []
    for kind in slices:
        for where in kind:
            try:
                shape = choose_mesh(config, where.devices)
            except MeshError:
                continue
            takes = budget(config, where, shape, work)
            if takes.pages >= takes.pages_wanted:
                found.append((where, takes))
                break
    return found
