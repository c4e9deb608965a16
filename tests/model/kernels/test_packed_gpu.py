"""cuDNN's attention among packed documents, against the dense attention with a mask."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model.attention import DenseAttention, Scoring
from model.kernels.packed_gpu import DOCUMENTS, PackedAttention

SHAPE = (2, 96, 2, 3, 64)
LENGTHS = ((30, 1, 50, 15), (96,))
SCORING = Scoring(1 / 8)


def segments() -> np.ndarray:
    """Documents of these lengths, the numbers of the first row around a multiple of `DOCUMENTS`."""
    first = np.repeat(np.arange(4) + DOCUMENTS - 2, LENGTHS[0])
    return np.stack([first, np.repeat([1], LENGTHS[1])]).astype(np.int32)


def dense(numbers: np.ndarray) -> DenseAttention:
    causal = np.tril(np.ones((numbers.shape[1],) * 2, bool))
    return DenseAttention(jnp.asarray((numbers[:, :, None] == numbers[:, None, :]) & causal))


def heads(dtype: str) -> list[jax.Array]:
    """Queries, keys and values, large enough that a score of a few dozen occurs."""
    batch, length, kv_heads, _, width = SHAPE
    random = np.random.default_rng(0)
    shapes = (SHAPE, (batch, length, kv_heads, width), (batch, length, kv_heads, width))
    return [jnp.asarray(2 * random.standard_normal(shape), dtype) for shape in shapes]


def outputs_and_gradients(attend, dtype: str) -> list[np.ndarray]:
    """What is attended, and the gradients of its squares' sum."""

    def summed(q, k, v):
        attended, _ = attend(q, k, v, None, SCORING)
        return jnp.sum(jnp.square(attended.astype(jnp.float32))), attended

    given = heads(dtype)
    gradients, attended = jax.grad(summed, argnums=(0, 1, 2), has_aux=True)(*given)
    return [np.asarray(each, np.float32) for each in (attended, *gradients)]


def test_documents_are_kept_apart_as_by_a_mask():
    numbers = segments()
    packed = PackedAttention(jnp.asarray(numbers), "xla")
    wanted = outputs_and_gradients(dense(numbers), "float32")
    for one, other in zip(outputs_and_gradients(packed, "float32"), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max(), rtol=0)


@pytest.mark.parametrize("scoring", [Scoring(1.0, window=4), Scoring(1.0, softcap=30.0)])
def test_what_it_has_not_is_refused(scoring):
    q, k, v = heads("float32")
    with pytest.raises(ValueError, match="neither windows nor caps nor sinks"):
        PackedAttention(jnp.asarray(segments()))(q, k, v, None, scoring)


@pytest.mark.gpu
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no CUDA device")
def test_the_kernel_agrees_with_the_dense_attention():
    numbers = segments()
    compiled = partial(outputs_and_gradients, dtype="bfloat16")
    wanted = compiled(dense(numbers))
    for one, other in zip(compiled(PackedAttention(jnp.asarray(numbers))), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-2 * np.abs(other).max(), rtol=0)
