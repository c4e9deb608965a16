"""Builds as copies: what moves values is found out, what computes is left to XLA."""

import jax.numpy as jnp
import numpy as np
import pytest

from model.families.stored import FuseHeads, SplitHeads, keep, stack_gate_up, transpose
from model.weights.copying import copy_view, empty_aligned
from model.weights.moves import copies


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def split_rows(fused):
    return jnp.split(fused, [2, 5])[1]


def nested(first, second):
    return jnp.concatenate([jnp.stack([first, first]), second[None]])


def interleaved(fused):
    return jnp.concatenate([fused[0::2], fused[1::2]], axis=0)


MOVES = {
    "keep": (keep, [(5, 3)]),
    "transpose": (transpose, [(5, 3)]),
    "stack": (stack_gate_up, [(7, 4), (7, 4)]),
    "heads": (FuseHeads(2, 3, 8), [(48, 10), (16, 10), (16, 10)]),
    "biases": (FuseHeads(2, 3, 8), [(48,), (16,), (16,)]),
    "output": (SplitHeads(2, 3, 8), [(10, 48)]),
    "slice": (lambda x: x[2:5].T, [(9, 3)]),
    "stride": (interleaved, [(8, 3)]),
    "split": (split_rows, [(9, 3)]),
    "nested": (nested, [(4, 3), (4, 3)]),
    "reshaped": (lambda x: x.T.reshape(15), [(5, 3)]),
    "unit axes": (lambda x: jnp.squeeze(x[:, None], 1), [(4, 3)]),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_build_that_moves_is_a_list_of_copies(name):
    build, shapes = MOVES[name]
    sources = [numbers(*shape) + index for index, shape in enumerate(shapes)]
    wanted = np.asarray(build(*map(jnp.asarray, sources)))
    target = np.full(wanted.shape, np.nan, np.float32)
    found = copies(build, sources, target)
    assert found is not None
    for copy in found:
        assert np.shares_memory(copy.target, target)
        assert any(np.shares_memory(copy.source, source) for source in sources)
        copy.target[...] = copy.source
    np.testing.assert_array_equal(target, wanted)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x + 1,
        lambda x: x.astype(jnp.float16),
        jnp.zeros_like,
        lambda x: jnp.concatenate([x, x * 2]),
        lambda x: x.T.reshape(15)[:7],
        lambda x: jnp.broadcast_to(x[None], (2, 5, 3)),
    ],
)
def test_a_build_that_computes_is_none(build):
    source = numbers(5, 3)
    target = np.empty(build(jnp.asarray(source)).shape, np.float32)
    assert copies(build, [source], target) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((), ()),
        ((0, 3), (1, 0)),
        ((5,), (0,)),
        ((2100, 300), (1, 0)),
        ((2100, 300), (0, 1)),
        ((3, 1100, 70), (2, 0, 1)),
        ((3, 40, 70), (1, 0, 2)),
        ((2, 3, 4, 5, 6), (4, 1, 3, 0, 2)),
        ((1, 9, 1), (2, 1, 0)),
    ],
)
def test_copies_of_any_strides(shape, axes, dtype):
    source = numbers(*shape).astype(jnp.bfloat16)
    wanted = np.asarray(jnp.asarray(source).astype(dtype)).transpose(axes)
    target = empty_aligned(wanted.shape, jnp.dtype(dtype))
    finished = []
    copy_view(target, source.transpose(axes), finished.append)
    np.testing.assert_array_equal(target, wanted)
    if source.ndim and source.size:
        assert sum(part.nbytes for part in finished) == source.nbytes


def test_sources_with_gaps_and_repetitions():
    source = numbers(60, 50)
    for view in (source[::2, ::3], source[:, 4], np.broadcast_to(source[0], (4, 50))):
        for wanted in (view, view.T):
            target = np.zeros(wanted.shape, np.float32)
            copy_view(target, wanted, lambda part: None)
            np.testing.assert_array_equal(target, wanted)


@pytest.mark.parametrize("shape", [(), (3,), (1000, 3)])
def test_fresh_memory_is_aligned(shape):
    memory = empty_aligned(shape, np.dtype(np.float32))
    assert memory.shape == shape
    assert memory.ctypes.data % 64 == 0
