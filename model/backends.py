"""Which attention backend a model runs with on a platform, and why not a faster one.

The one place that knows what kernels can and cannot do. The page layout follows from the
backend, and a cache's type says which backend reads it: `attend_with`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from model.attention import Attend, PagedAttention, PageView
from model.axes import KV_HEADS
from model.cache import CombinedPages, PageLayout, Pool
from model.config import ModelConfig
from model.kernels.ragged import RaggedAttention
from model.mesh import parts_on

_LANES = 128


class Backend(NamedTuple):
    """An attention backend.

    Attributes:
        name: for people.
        layout: of its pages.
        fallback: why the platform's kernel cannot run this model; empty where it runs, or
            where the platform has none.
    """

    name: str
    layout: PageLayout
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
    plain = Backend("paged, plain JAX", "by_head")
    if platform != "tpu":
        return plain
    obstacle = _ragged_obstacle(config, kv_heads_per_shard, dtype)
    if obstacle:
        return plain._replace(fallback=f"the TPU kernel cannot run this model: {obstacle}")
    return Backend("paged, ragged_paged_attention (Pallas TPU kernel)", "combined")


def backend_on(mesh: Mesh, config: ModelConfig, dtype: jnp.dtype) -> Backend:
    """The fastest backend that can run the model as this mesh holds it."""
    heads = config.held_kv_heads // parts_on(mesh, KV_HEADS)
    return choose_backend(config, mesh.devices.flat[0].platform, heads, dtype)


def _ragged_obstacle(config: ModelConfig, kv_heads: int, dtype: jnp.dtype) -> str:
    if config.attention_sinks:
        return "it has attention sinks"
    if config.head_dim % _LANES:
        return f"its head_dim is {config.head_dim}, not a multiple of {_LANES}"
    # Keys and values side by side, in words of 32 bits, must fill whole tiles.
    words, rest = divmod(2 * kv_heads * dtype.itemsize, 4)
    if rest or (words not in (1, 2, 4) and words % 8):
        return f"{kv_heads} kv heads of {dtype} on one device do not fill the kernel's tiles"
    return ""


def attend_with(pool: Pool, view: PageView) -> Attend:
    """The backend that reads and writes pages like these."""
    return RaggedAttention(view) if isinstance(pool, CombinedPages) else PagedAttention(view)
