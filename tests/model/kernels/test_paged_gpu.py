"""The GPU kernel, interpreted on CPU, against the plain backend; and when it is chosen."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.step_views import Rows, step_view
from support.tiny import TINY, tiny_parameters

from model import steps
from model.attention import Scoring
from model.backends import choose_backend
from model.cache import GpuPages, LayerCache, PageLayout, empty_cache
from model.kernels import paged_gpu
from model.kernels.paged_gpu import GpuAttention, attend_one, paged_attention, trial
from model.paged import PagedAttention, StepView, attend_flat

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


def view(rows: Rows, size: int) -> StepView:
    order = np.random.default_rng(3).permutation(POOL).reshape(ROWS, TABLE)
    return step_view(size, rows, order)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_decode_agrees_with_the_plain_backend(dtype, softcap):
    q = normal(0, ROWS, HEADS, GROUP, WIDTH, dtype=dtype)
    where = view([(TABLE * PAGE - 1, 1), (130, 1), (15, 1), (0, 1)], ROWS)
    scoring = Scoring(0.4, softcap=softcap)
    found = attend_one(q, pages(dtype), where.tables, where.positions, scoring)
    wanted = np.asarray(attend_flat(q, pages(dtype), where, scoring), np.float32)
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(
        np.asarray(found, np.float32), wanted, atol=TOLERANCES[dtype], rtol=0
    )


PLAIN = Scoring(0.4)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(
    ("size", "rows", "scoring", "by_kernel"),
    [
        (2, [(300, 1), (20, 1)], PLAIN, True),
        (4, [(300, 1), (20, 1)], PLAIN, True),
        (2, [(300, 1), (20, 1)], Scoring(0.4, window=7), False),
        (2, [(300, 1), (20, 1)], Scoring(0.4, sinks=jnp.ones((HEADS, GROUP))), False),
        (16, [(370, 13)], PLAIN, True),
        (16, [(300, 1), (20, 1), (0, 2), (127, 9)], PLAIN, True),
        # As many rows as the step can have, and no padding.
        (5, [(300, 1), (20, 1), (0, 3)], PLAIN, True),
    ],
    ids=[
        *("decode", "decode with padding", "a window", "sinks"),
        *("a prompt", "decode beside prompts", "decode beside a prompt, no padding"),
    ],
)
def test_a_step_is_that_of_the_plain_backend(size, rows, scoring, by_kernel, monkeypatch):
    where, calls = view(rows, size), []
    kernel = paged_gpu.paged_attention

    def counted(*args: object, **settings: object) -> jax.Array:
        calls.append(args)
        return kernel(*args, **settings)

    monkeypatch.setattr(paged_gpu, "paged_attention", counted)
    q = normal(0, size, 1, HEADS, GROUP, WIDTH)
    k, v = normal(4, size, 1, HEADS, WIDTH), normal(5, size, 1, HEADS, WIDTH)
    where = where._replace(
        **{name: getattr(where, name)[:size] for name in ("tables", "starts", "counts")}
    )
    found, cache = GpuAttention(where)(q, k, v, pages(), scoring)
    assert bool(calls) == by_kernel
    wanted, plain = PagedAttention(where)(q, k, v, LayerCache(*pages()), scoring)
    real = np.asarray(where.positions) >= 0
    assert np.abs(np.asarray(wanted)[real]).max() > 0.5
    np.testing.assert_allclose(found[real], wanted[real], atol=1e-5, rtol=0)
    assert isinstance(cache, GpuPages)
    assert plain is not None
    for mine, theirs in zip(cache, plain, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.usefixtures("interpreted")
def test_rows_of_one_token_are_the_kernels_and_others_are_not(monkeypatch):
    """With a kernel that finds ones, rows of one token have ones, and nobody else."""
    monkeypatch.setattr(paged_gpu, "paged_attention", lambda q, *_, **__: jnp.ones_like(q))
    where = view([(300, 1), (20, 1), (0, 2), (127, 9)], 13)
    q, kv = normal(0, 13, 1, HEADS, GROUP, WIDTH), normal(4, 13, 1, HEADS, WIDTH)
    found, _ = GpuAttention(where)(q, kv, kv, pages(), PLAIN)
    ones = np.all(np.asarray(found) == 1.0, axis=(1, 2, 3, 4))
    assert ones.tolist() == [True] * 2 + [False] * 11


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
    step = jax.jit(partial(steps.forward, WIDE))
    parts = [steps.RowTokens(slot, 3, (steps.LAST,), [slot]) for slot in range(2)]
    inputs, _ = steps.step_inputs(parts, 2, 2, PAGE)
    row_numbers = jnp.zeros(2, jnp.int32)
    traced = step.trace(parameters, cache, row_numbers, inputs, row_numbers)
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
