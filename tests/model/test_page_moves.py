"""Pages taken out of a pool and filled again, in every layout, on one device and on eight."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.on_eight_devices import environment
from support.pages_on_eight_devices import PAGES, by_page, random_cache
from support.tiny import TINY

from model.cache import cache_sharding, page_layout, taken_sharding
from model.mesh import make_mesh
from model.steps import compile_step, fill_pages, take_pages

KINDS = [
    *(("by_head", dtype) for dtype in ("float32", "bfloat16", "float8_e4m3fn", "int8")),
    ("by_head_on_gpu", "bfloat16"),
    ("combined", "float32"),
    ("combined", "bfloat16"),
]


@pytest.mark.parametrize(("layout", "dtype"), KINDS)
def test_what_was_taken_fills_other_pages_and_no_others(layout, dtype):
    cache = random_cache(layout, dtype)
    assert page_layout(cache) == layout
    before = [by_page(layout, pool) for pool in jax.tree.leaves(cache.layers)]
    held = np.asarray(take_pages(cache, jnp.array([3, 5, 0])))
    # As the engine keeps them: bytes of one page after the other.
    rows = np.ascontiguousarray(held).reshape(3, -1).view(np.uint8)
    again = rows.view(held.dtype).reshape(held.shape)
    target = jnp.array([7, 2, PAGES])
    after = fill_pages(cache, jnp.asarray(again), target)
    for pool, old in zip(jax.tree.leaves(after.layers), before, strict=True):
        new = by_page(layout, pool)
        wanted = old.copy()
        wanted[7], wanted[2] = old[3], old[5]
        np.testing.assert_array_equal(new, wanted)
    assert rows.shape[1] == sum(old.shape[1] for old in before)


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_moving_pages_costs_pages_and_not_the_pool(count, dtype):
    """XLA's CPU backend copies a pool for some writes: then it needs the room of it besides."""
    cache = random_cache("by_head", dtype, pages=512)
    mesh = make_mesh()
    place, out = taken_sharding(mesh, "by_head"), cache_sharding(TINY, mesh)
    pages = jnp.zeros(count, jnp.int32)
    shape = jax.eval_shape(take_pages, cache, pages)
    take = compile_step(take_pages, mesh, (), place, cache, pages)
    fill = compile_step(fill_pages, mesh, (0,), out, cache, shape, pages)
    moved = shape.size * shape.dtype.itemsize
    for program in (take, fill):
        assert program.memory_analysis().temp_size_in_bytes <= 3 * moved + 10_000
    pools = sum(pool.nbytes for pool in jax.tree.leaves(cache.layers))
    assert fill.memory_analysis().alias_size_in_bytes >= pools > 20 * moved


@pytest.mark.timeout(300)
def test_pages_come_back_to_every_device_that_had_a_part():
    command = [sys.executable, "-m", "support.pages_on_eight_devices"]
    run = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=240
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == ["by_head", "combined"]
