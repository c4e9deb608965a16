"""Attention among the patches of an image, in both directions.

Patches of several images lie side by side in one call; their numbers keep them apart. In plain JAX
queries go through in parts, so that what is held of scores stays small however many patches there
are; on TPU a kernel holds none.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from model.attention import NO_SCORE
from model.axes import HEAD_DIM, IMAGES, KV_HEADS, PATCHES, TOKENS
from model.kernels import flash
from model.mesh import constrain

# Most scores of one head that are held at a time.
_SCORES = 2**22


def attend_within_images(
    q: Float[Array, "B T K H"],
    k: Float[Array, "B T K H"],
    v: Float[Array, "B T K H"],
    image: Int[Array, "B T"],
) -> Float[Array, "B T K H"]:
    """softmax(q · k / √H) · v over the patches that have the same number as the query's."""
    if not flash.takes(q):
        return _attend(q, k, v, image)
    return jax.lax.platform_dependent(q, k, v, image, tpu=flash.attend_by_flash, default=_attend)


def _attend(
    q: Float[Array, "B T K H"],
    k: Float[Array, "B T K H"],
    v: Float[Array, "B T K H"],
    image: Int[Array, "B T"],
) -> Float[Array, "B T K H"]:
    """`attend_within_images` in plain JAX."""
    # Devices divide the queries, and each needs all keys.
    whole = (IMAGES, TOKENS, KV_HEADS, HEAD_DIM)
    k, v = constrain(k, whole), constrain(v, whole)
    parts = parts_of(q.shape[0], q.shape[1])

    def some(part: tuple[jax.Array, jax.Array]) -> jax.Array:
        q, own = part
        scores = jnp.einsum("btkh,bskh->bkts", q, k, preferred_element_type=jnp.float32)
        same = own[:, None, :, None] == image[:, None, None, :]
        scores = jnp.where(same, scores * q.shape[-1] ** -0.5, NO_SCORE)
        return jnp.einsum("bkts,bskh->btkh", jax.nn.softmax(scores).astype(v.dtype), v)

    if parts == 1:
        return some((q, image))
    # Every so many-th query in each part: a device's queries are in all of them.
    apart = jnp.moveaxis(q.reshape(q.shape[0], -1, parts, *q.shape[2:]), 2, 0)
    owns = jnp.moveaxis(image.reshape(q.shape[0], -1, parts), 2, 0)
    apart = constrain(apart, (TOKENS, IMAGES, PATCHES, KV_HEADS, HEAD_DIM))
    return jnp.moveaxis(jax.lax.map(some, (apart, owns)), 0, 2).reshape(q.shape)


def parts_of(images: int, patches: int) -> int:
    """In how many equal parts the queries go through."""
    parts = 1
    while patches % (2 * parts) == 0 and images * patches * (patches // parts) > _SCORES:
        parts *= 2
    return parts
