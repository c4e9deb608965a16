"""Meshes: which can be, how parameters lie on them, and that they change no result."""

import subprocess
import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from support.on_eight_devices import (
    ALONE,
    BY_TPU_KERNEL,
    GPU_KERNEL_MESHES,
    MESHES_OF,
    MODELS,
    environment,
    run_on_eight,
)
from support.published import LLAMA, random_tensors, write_published
from support.tiny import TINY

from model.axes import FFN, KV_HEADS, VOCAB
from model.config import ExpertsConfig, ModelConfig
from model.convert import convert
from model.layout import Layout
from model.mesh import MeshError, MeshShape, choose_mesh, make_mesh, parse_mesh, sharding
from model.parameters import parameter_specs

# All meshes compile in a process of their own, for a minute or two on an idle machine.
pytestmark = pytest.mark.timeout(600)

HEADS_32 = replace(TINY, num_heads=32, num_kv_heads=4, ffn_dim=96)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, np.ndarray]:
    return run_on_eight(tmp_path_factory.mktemp("eight") / "results.npz")


@pytest.mark.parametrize(
    ("name", "mesh"), [(name, mesh) for name in MODELS for mesh in MESHES_OF[name]]
)
def test_a_mesh_changes_no_result(found, name, mesh):
    for what in ("prefill", "prompt", "decode"):
        alone = found[f"{name} {ALONE} {what}"]
        assert np.abs(alone).max() > 1
        np.testing.assert_allclose(found[f"{name} {mesh} {what}"], alone, atol=1e-5, rtol=0)
    ids = found[f"{name} {ALONE} ids"]
    assert len(np.unique(ids)) > 4
    np.testing.assert_array_equal(found[f"{name} {mesh} ids"], ids)


@pytest.mark.parametrize("mesh", GPU_KERNEL_MESHES)
def test_the_gpu_kernel_runs_on_every_device_with_its_rows_and_heads(found, mesh):
    for what in ("prefill", "decode"):
        values = found[f"dense {mesh} {what} by the GPU kernel"]
        np.testing.assert_allclose(values, found[f"dense {ALONE} {what}"], atol=1e-5, rtol=0)


def test_the_tpu_kernel_runs_on_every_device_with_its_rows_and_heads(found):
    for what in ("prefill", "decode"):
        values = found[f"{BY_TPU_KERNEL} {what} by the TPU kernel"]
        alone = found[f"{BY_TPU_KERNEL} {ALONE} {what}"]
        np.testing.assert_allclose(values, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "part", "shape"),
    [
        ("dense", "embedding.weight", (16, 32)),
        ("dense", "blocks.0.attention.qkv", (32, 2, 4, 8)),
        ("dense", "blocks.0.mlp.gate_up", (32, 2, 16)),
        ("dense", "pages", (2, 64, 4, 8)),
        # Two kv heads on four shards: each shard has one, with two of its four query heads.
        ("two kv heads", "blocks.0.attention.qkv", (32, 1, 6, 8)),
        ("two kv heads", "pages", (1, 64, 4, 8)),
        # 67 tokens and one row of padding.
        ("odd vocabulary", "embedding.weight", (17, 32)),
        ("experts", "blocks.0.mlp.gate_up", (2, 32, 48)),
    ],
)
def test_each_device_holds_its_part(found, name, part, shape):
    assert tuple(found[f"{name} data=2,model=4 {part}"]) == shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [("data=2,model=4", (2, 4)), (" model=4 , data=2 ", (2, 4)), ("model=8", (1, 8))],
)
def test_a_mesh_in_words(text, shape):
    assert parse_mesh(text) == shape


@pytest.mark.parametrize(
    "text", ["2x4", "model", "model=0", "model=-1", "rows=2", "model=2,model=2", "model=2,"]
)
def test_words_that_are_no_mesh(text):
    with pytest.raises(MeshError, match=r"like data=2,model=4"):
        parse_mesh(text)


@pytest.mark.parametrize(
    ("config", "devices", "shape"),
    [
        (HEADS_32, 1, (1, 1)),
        (HEADS_32, 8, (1, 8)),
        (HEADS_32, 64, (2, 32)),
        # 28 query heads are not divided by 8.
        (replace(HEADS_32, num_heads=28), 8, (2, 4)),
        (replace(HEADS_32, ffn_dim=98), 8, (4, 2)),
        (HEADS_32, 5, (5, 1)),
    ],
)
def test_the_mesh_that_is_found_uses_every_device(config, devices, shape):
    assert choose_mesh(config, devices) == shape


def experts(count: int) -> ModelConfig:
    layers = tuple(replace(layer, experts=True) for layer in HEADS_32.layers)
    mixture = ExpertsConfig(count, 2, ffn_dim=7, renormalize=True)
    return replace(HEADS_32, layers=layers, experts=mixture, ffn_dim=13)


@pytest.mark.parametrize(
    ("config", "wanted", "reason"),
    [
        (
            replace(HEADS_32, num_heads=28),
            (1, 8),
            "model=8 does not divide 28 query heads; nearest ones that can: data=2,model=4",
        ),
        (HEADS_32, (2, 8), "it needs 16 devices and there are 8; nearest .*: data=1,model=8"),
        (
            HEADS_32,
            (1, 3),
            "model=3 does not divide 32 query heads; nearest .*: data=1,model=2 or data=1,model=4",
        ),
        # Where every layer has experts the width of a dense layer means nothing.
        (experts(6), (1, 4), "model=4 does not divide 6 experts; nearest .*: data=2,model=2"),
    ],
)
def test_a_mesh_that_cannot_be_is_refused_with_its_neighbours(config, wanted, reason):
    with pytest.raises(MeshError, match=reason):
        choose_mesh(config, 8, MeshShape(*wanted))


def test_more_devices_than_there_are():
    with pytest.raises(MeshError, match="needs 2 devices and there are 1"):
        make_mesh(1, 2)


def test_two_axes_cannot_share_a_mesh_axis():
    with pytest.raises(ValueError, match="twice"):
        sharding(make_mesh(), (KV_HEADS, FFN))


def test_copies_of_kv_heads_keep_every_query_head_with_its_keys():
    """Two kv heads, two query heads each, as four kv heads with one each; q, k, v as numbers."""
    fused = jnp.array([[0.0, 1, 10, 100], [2, 3, 20, 200]])[None, :, :, None]
    axes = parameter_specs(TINY)["blocks.0.attention.qkv"].axes
    laid = Layout(axes, copies=2, padding=0)(fused)
    assert laid[0, :, :, 0].tolist() == [
        [0, 10, 100],
        [1, 10, 100],
        [2, 20, 200],
        [3, 20, 200],
    ]


def test_padding_is_rows_of_zeros_after_the_vocabulary():
    padded = Layout((VOCAB, FFN), copies=1, padding=2)(jnp.ones((3, 2)))
    assert padded.tolist() == [[1, 1]] * 3 + [[0, 0]] * 2


LOADING = """
import sys
from pathlib import Path
import numpy as np
from model.convert import convert
from model.layout import layout_of
from model.loading import load_model
from model.mesh import make_mesh
from model.parameters import parameter_specs
directory = Path(sys.argv[1])
one, four = load_model(directory, make_mesh(), "float32"), load_model(directory, "", "float32")
assert dict(four.mesh.shape) == {"data": 2, "model": 2}, four.mesh
assert (four.config.held_kv_heads, four.config.held_vocab) == (2, 68)
for name, spec in parameter_specs(one.config).items():
    wanted = layout_of(four.config, spec)(one.parameters[name])
    np.testing.assert_array_equal(four.parameters[name], wanted)
parts = {name: four.parameters[name].addressable_shards[0].data.shape for name in four.parameters}
assert parts["embedding.weight"] == (34, 32), parts
assert parts["blocks.0.attention.qkv"] == (32, 1, 5, 8), parts
"""


@pytest.mark.parametrize("form", ["ours", "published"])
def test_weights_are_loaded_in_the_layout_of_the_mesh(tmp_path, form):
    """One kv head and 67 tokens on two shards, of four devices, for 6 query heads."""
    config = LLAMA | {"num_key_value_heads": 1}
    directory = write_published(tmp_path / "published", random_tensors(config), config)
    if form == "ours":
        convert(directory, tmp_path / "ours")
        directory = tmp_path / "ours"
    command = [sys.executable, "-c", LOADING, str(directory)]
    subprocess.run(command, env=environment(4), check=True, timeout=120)
