"""fp8 (e4m3) on platforms that have no such numbers: as bits, turned into others by shifts.

XLA's CPU backend converts fp8 number by number, ten times slower.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

FP8 = jnp.dtype("float8_e4m3fn")
_MOST = 448.0


def to_float8(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The nearest numbers of fp8, at most ±448."""
    # What is larger would become no number.
    return jnp.clip(x, -_MOST, _MOST).astype(FP8)


def float8_bits(x: Float[Array, "..."]) -> UInt8[Array, "..."]:
    """The bits of `to_float8`."""
    return jax.lax.bitcast_convert_type(to_float8(x), jnp.uint8)


def of_float8_bits(bits: UInt8[Array, "..."]) -> Float[Array, "..."]:
    """The numbers that have these bits, float32."""
    wide = bits.astype(jnp.uint16)
    # The same number in float16, less a power of two.
    half = (wide & 0x80) << 8 | (wide & 0x7F) << 7
    return jax.lax.bitcast_convert_type(half, jnp.float16).astype(jnp.float32) * 256.0
