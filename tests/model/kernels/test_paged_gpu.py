"""The GPU kernel, interpreted on CPU, against the plain backend; and when it is chosen."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny import TINY, tiny_parameters

from model import steps
from model.attention import PagedAttention, PageView, Scoring, attend_pages
from model.backends import choose_backend
from model.cache import GpuPages, LayerCache, PageLayout, empty_cache
from model.kernels import paged_gpu
from model.kernels.paged_gpu import GpuAttention, attend_one, paged_attention, trial

HEADS, GROUP, WIDTH, PAGE, TABLE, ROWS = 2, 3, 32, 16, 24, 4
POOL = ROWS * TABLE
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}
BFLOAT16 = jnp.dtype("bfloat16")
WIDE = replace(TINY, head_dim=32)


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(paged_gpu, "paged_attention", partial(paged_attention, interpret=True))
    trial.cache_clear()
    yield
    trial.cache_clear()


def normal(seed: int, *shape: int, dtype: str = "float32") -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def pages(dtype: str = "float32") -> GpuPages:
    shape = (HEADS, POOL, PAGE, WIDTH)
    return GpuPages(normal(1, *shape, dtype=dtype), normal(2, *shape, dtype=dtype))


def view(positions: list[list[int]]) -> PageView:
    order = np.random.default_rng(3).permutation(POOL).astype(np.int32).reshape(ROWS, TABLE)
    return PageView(jnp.asarray(order[: len(positions)]), jnp.asarray(positions, jnp.int32))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_decode_agrees_with_the_plain_backend(dtype, softcap):
    q = normal(0, ROWS, 1, HEADS, GROUP, WIDTH, dtype=dtype)
    where = view([[0], [15], [130], [TABLE * PAGE - 1]])
    scoring = Scoring(0.4, softcap=softcap)
    found = np.asarray(attend_one(q, pages(dtype), where, scoring), np.float32)
    wanted = np.asarray(attend_pages(q, pages(dtype), where, scoring), np.float32)
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(found, wanted, atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(
    ("positions", "scoring"),
    [
        ([[20], [300]], Scoring(0.4)),
        ([[20], [300]], Scoring(0.4, window=7)),
        ([[20], [300]], Scoring(0.4, sinks=jnp.ones((HEADS, GROUP)))),
        ([[380, 381, 382, -1]], Scoring(0.4)),
    ],
    ids=["decode", "a window", "sinks", "a prompt"],
)
def test_new_keys_are_written_where_the_plain_backend_writes_them(positions, scoring):
    where = view(positions)
    rows, length = where.positions.shape
    q = normal(0, rows, length, HEADS, GROUP, WIDTH)
    k, v = normal(4, rows, length, HEADS, WIDTH), normal(5, rows, length, HEADS, WIDTH)
    found, cache = GpuAttention(where)(q, k, v, pages(), scoring)
    wanted, plain = PagedAttention(where)(q, k, v, LayerCache(*pages()), scoring)
    real = np.asarray(where.positions) >= 0
    np.testing.assert_allclose(found[real], wanted[real], atol=1e-5, rtol=0)
    assert isinstance(cache, GpuPages)
    assert plain is not None
    for mine, theirs in zip(cache, plain, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def decode_for_cuda(layout: PageLayout) -> str:
    parameters = tiny_parameters(WIDE, 0)
    cache = empty_cache(
        WIDE,
        pages=32,
        page_size=PAGE,
        rows=2,
        table_width=16,
        dtype=jnp.dtype("float32"),
        layout=layout,
    )
    step = jax.jit(partial(steps.decode, WIDE))
    traced = step.trace(parameters, cache, jnp.zeros(2, jnp.int32), jnp.zeros((3, 2), jnp.int32))
    return traced.lower(lowering_platforms=("cuda",)).as_text()


def test_a_decode_step_for_cuda_holds_the_kernel_in_every_layer():
    """Lowered for CUDA, which needs no GPU; compiled and run it is only where there is one."""
    kernel = "xla.gpu.triton"
    assert decode_for_cuda("by_head_on_gpu").count(kernel) >= 1
    assert kernel not in decode_for_cuda("by_head")


@pytest.mark.usefixtures("interpreted")
def test_the_kernel_is_chosen_where_it_agrees():
    backend = choose_backend(WIDE, "gpu", 2, BFLOAT16)
    assert (backend.layout, backend.fallback) == ("by_head_on_gpu", "")


def test_a_kernel_that_does_not_run_is_not_chosen():
    """This machine has no GPU: the kernel itself says so."""
    trial.cache_clear()
    backend = choose_backend(WIDE, "gpu", 2, BFLOAT16)
    assert backend.layout == "by_head"
    assert "it does not run on this device (" in backend.fallback


def test_a_kernel_that_is_wrong_is_not_chosen(monkeypatch):
    trial.cache_clear()

    def wrong(q: jax.Array, *args: object, **settings: object) -> jax.Array:
        del args, settings
        return jnp.zeros_like(q)

    monkeypatch.setattr(paged_gpu, "paged_attention", wrong)
    backend = choose_backend(WIDE, "gpu", 2, BFLOAT16)
    trial.cache_clear()
    assert backend.layout == "by_head"
    assert "off on this device" in backend.fallback


@pytest.mark.parametrize(
    ("config", "dtype", "reason"),
    [
        (WIDE, "float32", "it would multiply float32 in fewer bits"),
        (replace(TINY, head_dim=96), "bfloat16", "head_dim is 96, not a power of two"),
        (replace(WIDE, attention_sinks=True), "bfloat16", "a window or sinks"),
    ],
)
def test_a_fallback_has_its_reason(config, dtype, reason):
    backend = choose_backend(config, "gpu", 2, jnp.dtype(dtype))
    assert backend.layout == "by_head"
    assert reason in backend.fallback
