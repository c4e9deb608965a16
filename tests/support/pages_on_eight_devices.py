"""Pages taken out of pools that eight CPU devices share, and filled again.

    python -m support.pages_on_eight_devices

Runs in a process of its own, for the number of devices is settled when JAX starts. Prints the
layouts that it has tried, and fails with an assertion.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.tiny import TINY

from model.cache import Cache, cache_sharding, empty_cache, taken_sharding
from model.mesh import make_mesh
from model.steps import compile_step, fill_pages, take_pages

PAGES, PAGE = 12, 4


def random_cache(layout: Any, dtype: str, pages: int = PAGES) -> Cache:
    """A cache of random bits, none of which is a number that is not equal to itself."""
    empty = empty_cache(
        TINY,
        pages=pages,
        page_size=PAGE,
        rows=2,
        table_width=4,
        dtype=jnp.dtype(dtype),
        layout=layout,
    )
    generator = np.random.default_rng(0)

    def filled(pool: jax.Array) -> jax.Array:
        return jnp.asarray(generator.integers(0, 100, pool.shape), pool.dtype)

    return empty._replace(layers=jax.tree.map(filled, empty.layers))


def by_page(layout: str, pool: jax.Array) -> np.ndarray:
    """A pool with its pages on the first axis, as bytes."""
    values = np.asarray(pool)
    first = values if layout == "combined" else np.moveaxis(values, 1, 0)
    return np.ascontiguousarray(first).reshape(len(first), -1).view(np.uint8)


def main() -> None:
    mesh = make_mesh(4, 2)
    for layout in ("by_head", "combined"):
        place, taken = cache_sharding(TINY, mesh, layout), taken_sharding(mesh, layout)
        cache: Any = jax.device_put(random_cache(layout, "float32"), place)
        numbers = np.array([3, 5], np.int32)
        held_like = jax.eval_shape(take_pages, cache, numbers)
        held_like = jax.ShapeDtypeStruct(held_like.shape, held_like.dtype, sharding=taken)
        take = compile_step(take_pages, mesh, (), taken, cache, numbers)
        fill = compile_step(fill_pages, mesh, (0,), place, cache, held_like, numbers)
        held = np.asarray(take(cache, numbers))
        whole = [by_page(layout, pool).copy() for pool in jax.tree.leaves(cache.layers)]
        cache = fill(cache, held, np.array([1, 0], np.int32))
        for pool, old in zip(jax.tree.leaves(cache.layers), whole, strict=True):
            new = by_page(layout, pool)
            np.testing.assert_array_equal(new[[1, 0]], old[[3, 5]])
            np.testing.assert_array_equal(new[2:], old[2:])
            assert {shard.data.size for shard in pool.addressable_shards} == {pool.size // 2}
        assert "all-gather" not in fill.as_text(), "pages go to devices that need none of them"
        print(layout)


if __name__ == "__main__":
    main()
