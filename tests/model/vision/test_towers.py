"""Towers compute what the reference library computes, whatever else is in the call.

The fixtures are tiny checkpoints as that library writes them, with the vectors that it makes of
images (`tools/make_vision_fixtures.py`).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support.towers import (
    GEMMA,
    MESHES,
    QWEN,
    load_tower,
    look_at,
    patches_of_images,
    run_on_eight,
    seen,
)

from model.axes import PATCHES
from model.mesh import RULES, make_mesh
from model.vision import attention
from model.vision.inputs import TowerInputs, tower_inputs
from model.vision.parameters import count_tower_parameters, random_tower_parameters, tower_specs
from model.vision.tower import LoadedTower

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=[GEMMA, QWEN])
def fixture(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tower(fixture) -> LoadedTower:
    return load_tower(fixture)


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory) -> dict[str, np.ndarray]:
    return run_on_eight(tmp_path_factory.mktemp("eight") / "results.npz")


def assert_seen(fixture: str, numbers: list[int], vectors: Any, deepstack: Any) -> None:
    """The vectors of these images, one after another, and no others looked at."""
    expected = seen(fixture)
    wanted = np.concatenate([expected.vectors[number] for number in numbers])
    layers = np.concatenate([expected.deepstack[number] for number in numbers], axis=1)
    assert np.abs(wanted).max() > 1
    np.testing.assert_allclose(vectors[: len(wanted)], wanted, atol=TOLERANCE, rtol=0)
    assert len(deepstack) == len(layers)
    np.testing.assert_allclose(deepstack[:, : len(wanted)], layers, atol=TOLERANCE, rtol=0)


def test_images_in_one_call(fixture, tower):
    images = seen(fixture).images
    assert_seen(fixture, list(range(len(images))), *tower(images))


def test_each_image_by_itself(fixture, tower):
    for number, image in enumerate(seen(fixture).images):
        assert_seen(fixture, [number], *tower([image]))


def test_in_another_order(fixture, tower):
    images = seen(fixture).images
    assert_seen(fixture, [2, 0], *tower([images[2], images[0]]))


def test_what_fills_a_call_up_changes_nothing():
    tower, images = load_tower(QWEN), seen(QWEN).images[:2]
    plain = tower_inputs(tower.config, images, 64)
    used = int(np.sum(plain.places[0] >= 0))
    # 36 and 20 patches.
    assert used == 56
    noise = np.random.default_rng(3).integers(0, 256, plain.patches.shape, np.uint8)
    noise[:used] = plain.patches[:used]
    places = plain.places.copy()
    places[1:, used:] = 5
    for inputs in (plain, TowerInputs(noise, places)):
        found = look_at(tower, inputs)
        assert_seen(QWEN, [0, 1], *found)
        assert np.isfinite(found.vectors).all()


def test_an_image_that_fills_its_call():
    tower, image = load_tower(QWEN), seen(QWEN).images[2]
    inputs = tower_inputs(tower.config, [image], 48)
    assert_seen(QWEN, [2], *look_at(tower, inputs))


def test_queries_in_parts_see_what_they_see_together(fixture, monkeypatch):
    tower, images = load_tower(fixture), seen(fixture).images
    size = tower.config.sizes[0] if fixture == QWEN else 3 * 144
    inputs = tower_inputs(tower.config, images, size)
    monkeypatch.setattr(attention, "_SCORES", 2**14)
    batch, patches = (1, 1024) if fixture == QWEN else (3, 144)
    assert attention.parts_of(batch, patches) == {QWEN: 64, GEMMA: 4}[fixture]
    numbers = list(range(len(images)))
    assert_seen(fixture, numbers, *look_at(tower, inputs))


@pytest.mark.parametrize(
    ("images", "patches", "parts"), [(1, 1024, 1), (1, 4096, 4), (4, 4096, 16), (1, 16384, 64)]
)
def test_four_million_scores_of_a_head_at_a_time(images, patches, parts):
    assert attention.parts_of(images, patches) == parts


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_changes_no_result(fixture, mesh, on_eight):
    numbers = list(range(len(seen(fixture).images)))
    found = (on_eight[f"{fixture} {mesh} {what}"] for what in ("vectors", "deepstack"))
    assert_seen(fixture, numbers, *found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_changes_nothing_of_the_tpus_kernel(mesh, on_eight):
    wanted = attention.attend_within_images(*patches_of_images())
    np.testing.assert_allclose(on_eight[f"flash {mesh}"], wanted, atol=1e-5, rtol=0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mesh", "part", "shape"),
    [
        ("data=2,model=4", "blocks.0.attention.qkv", (32, 1, 3, 8)),
        ("data=2,model=4", "blocks.0.mlp.up", (32, 12)),
        # Four heads on eight shards: each has all.
        ("data=1,model=8", "blocks.0.attention.qkv", (32, 4, 3, 8)),
        ("data=1,model=8", "blocks.0.mlp.up", (32, 6)),
        ("data=8,model=1", "blocks.0.mlp.up", (32, 48)),
    ],
)
def test_each_device_has_its_part(on_eight, fixture, mesh, part, shape):
    assert tuple(on_eight[f"{fixture} {mesh} {part}"]) == shape
    places = {GEMMA: 144, QWEN: 64}[fixture]
    assert tuple(on_eight[f"{fixture} {mesh} positions"]) == (places, 32)


def test_devices_along_the_data_axis_share_an_image():
    assert RULES[PATCHES] == "data"


def test_vectors_have_the_dtype_of_weights(fixture):
    config = load_tower(fixture).config
    parameters = random_tower_parameters(config, jnp.dtype("bfloat16"), 0)
    assert {name: value.shape for name, value in parameters.items()} == {
        name: spec.shape for name, spec in tower_specs(config).items()
    }
    assert sum(value.size for value in parameters.values()) == count_tower_parameters(config)
    images = seen(fixture).images[:1]
    size = {GEMMA: 144, QWEN: 64}[fixture]
    tower = LoadedTower(config, parameters, make_mesh(), jnp.dtype("bfloat16"))
    found = look_at(tower, tower_inputs(config, images, size))
    assert found.vectors.dtype == found.deepstack.dtype == jnp.bfloat16
    assert np.isfinite(found.vectors.astype(jnp.float32)).all()
