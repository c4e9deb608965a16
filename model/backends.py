"""Which attention backend a model runs with on a platform, and why not a faster one.

The one place that knows what kernels can and cannot do. The page layout follows from the
backend, and a cache's type says which backend reads it: `attend_with`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from model.attention import Attend
from model.axes import KV_HEADS
from model.cache import (
    INT8,
    LANES,
    CombinedPages,
    GpuPages,
    PageLayout,
    Pool,
    combined_heads,
)
from model.config import ModelConfig
from model.float8 import FP8
from model.kernels.paged_gpu import GpuAttention, trial
from model.kernels.ragged import RaggedAttention
from model.mesh import parts_on
from model.paged import PagedAttention, StepView

_LEAST_TRITON = 16
_WORD_BYTES = 4


class Backend(NamedTuple):
    """An attention backend.

    Attributes:
        name: for people.
        layout: of its pages.
        heads: kv heads for which its pages have room, over all devices.
        fallback: why the platform's kernel cannot run this model; empty where it runs, or
            where the platform has none.
    """

    name: str
    layout: PageLayout
    heads: int
    fallback: str = ""


def choose_backend(
    config: ModelConfig, platform: str, kv_heads_per_shard: int, dtype: jnp.dtype
) -> Backend:
    """The fastest backend that can run the model.

    Args:
        config: the decoder's shape.
        platform: of the devices, as JAX names it.
        kv_heads_per_shard: kv heads that one device holds.
        dtype: of the pages.
    """
    held = config.held_kv_heads
    plain = Backend("paged, plain JAX", "by_head", held)
    match platform:
        case "tpu":
            room = held // kv_heads_per_shard * combined_heads(kv_heads_per_shard, dtype)
            kernel = Backend("paged, ragged_paged_attention (Pallas TPU kernel)", "combined", room)
            obstacle = _ragged_obstacle(config, kv_heads_per_shard, dtype)
        case "gpu":
            kernel = Backend("paged, paged_attention (Pallas GPU kernel)", "by_head_on_gpu", held)
            obstacle = _gpu_obstacle(config, kv_heads_per_shard, dtype)
        case _:
            return plain
    if obstacle:
        return plain._replace(fallback=f"the kernel for {platform} is not used: {obstacle}")
    return kernel


def backend_on(mesh: Mesh, config: ModelConfig, dtype: jnp.dtype) -> Backend:
    """The fastest backend that can run the model as this mesh holds it."""
    heads = config.held_kv_heads // parts_on(mesh, KV_HEADS)
    return choose_backend(config, mesh.devices.flat[0].platform, heads, dtype)


def _ragged_obstacle(config: ModelConfig, kv_heads: int, dtype: jnp.dtype) -> str:
    if dtype == INT8:
        return "its pages have no room for the scales of int8; fp8 has none"
    # Unless a token's keys and values are one 32 bit word wide, it takes each head out of the
    # others by strides, which the TPU's compiler has for heads of one register alone.
    if config.head_dim > LANES and 2 * kv_heads * dtype.itemsize > _WORD_BYTES:
        return (
            f"head_dim is {config.head_dim}; above {LANES} a device can have one kv head of "
            f"bfloat16, and here it has {kv_heads} of {dtype}"
        )
    return ""


def _gpu_obstacle(config: ModelConfig, kv_heads: int, dtype: jnp.dtype) -> str:
    width = config.head_dim
    if dtype in (FP8, INT8):
        return f"it reads no pages of {'fp8' if dtype == FP8 else dtype}"
    if dtype.itemsize != jnp.dtype("bfloat16").itemsize:
        return f"it would multiply {dtype} in fewer bits"
    if width < _LEAST_TRITON or width & (width - 1):
        return f"head_dim is {width}, not a power of two from {_LEAST_TRITON} on"
    if all(layer.window is not None for layer in config.layers) or config.attention_sinks:
        return "every layer has a window or sinks"
    return trial(kv_heads, config.group_size, width, dtype)


def attend_with(pool: Pool, view: StepView) -> Attend:
    """The backend that reads and writes pages like these."""
    if isinstance(pool, CombinedPages):
        return RaggedAttention(view)
    return GpuAttention(view) if isinstance(pool, GpuPages) else PagedAttention(view)
