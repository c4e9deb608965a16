"""Matrices in fewer bits: what they become, that products agree, and that loading makes them."""

import json
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.paged_text import logits_of
from support.published import LLAMA, built_parameters, random_tensors, write_published
from support.tiny import ROPE_THETA, TINY, tiny_parameters

from model import small
from model.bundled import directory
from model.config import CheckpointError
from model.grouped import _ragged_int8, grouped_dot
from model.layers import product
from model.loading import load_model
from model.mesh import make_mesh
from model.parameters import (
    abstract_parameters,
    decoder_with,
    held_as,
    held_bytes,
    parameter_specs,
    random_parameters,
)
from model.small import Small, group_size, parts_of, quantized, widened
from model.weights.orbax import save_weights

FORMS = ("int8", "fp8", "fp8_bits", "int4", "int4_pairs")
SAME_NUMBERS = (("fp8", "fp8_bits"), ("int4", "int4_pairs"))
FLOAT32 = jnp.dtype("float32")
MODELS = Path(__file__).parents[1] / "fixtures" / "models"
VARIANTS = sorted(path.name for path in MODELS.iterdir() if path.is_dir())
TINY_CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": TINY.vocab_size,
    "hidden_size": TINY.embed_dim,
    "num_hidden_layers": TINY.num_layers,
    "num_attention_heads": TINY.num_heads,
    "num_key_value_heads": TINY.num_kv_heads,
    "head_dim": TINY.head_dim,
    "intermediate_size": TINY.ffn_dim,
    "max_position_embeddings": TINY.context_length,
    "rope_theta": ROPE_THETA,
    "rms_norm_eps": TINY.norm_eps,
    "tie_word_embeddings": TINY.tied_head,
}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def values_of(weight: Small, shape: tuple[int, ...], sums: tuple[int, ...]) -> np.ndarray:
    """The matrix that is stood for, in float64."""
    last = sums[-1]
    if weight.scales.ndim == len(shape):
        size = shape[last] // weight.scales.shape[last]
        wide = np.asarray(widened(weight, size, last + 1, FLOAT32), np.float64)
        scales = np.expand_dims(np.asarray(weight.scales, np.float64), last + 1)
        return (wide * scales).reshape(shape)
    wide = np.asarray(widened(weight, shape[last], last, FLOAT32), np.float64)
    return wide * np.expand_dims(np.asarray(weight.scales, np.float64), sums)


def test_int8_by_hand():
    weight = quantized(jnp.asarray([[1.27, 0.0], [-0.635, 0.0], [0.004, 0.0]]), (0,), "int8")
    np.testing.assert_array_equal(weight.values, [[127, 0], [-64, 0], [0, 0]])
    np.testing.assert_allclose(weight.scales, [0.01, 0.0], rtol=1e-6)


def test_int4_by_hand():
    """The largest magnitude is -8 of a scale, whatever its sign; each group has a scale."""
    inputs = [[-4.0], [2.0], [0.5], [3.5]] * 8 + [[0.25], [-0.125], [0.0625], [0.0]] * 8
    weight = quantized(jnp.asarray(inputs), (0,), "int4", parts=2)
    assert weight.values.shape == (2, 32, 1)
    np.testing.assert_array_equal(weight.values[0, :4, 0], [-8, 4, 1, 7])
    np.testing.assert_array_equal(weight.values[1, :4, 0], [-8, 4, -2, 0])
    np.testing.assert_array_equal(weight.scales, [[0.5], [-0.03125]])


def test_every_bit_pattern_of_fp8_is_the_same_number():
    bits = np.asarray([each for each in range(256) if each & 0x7F != 0x7F], np.uint8)
    plain = Small(jax.lax.bitcast_convert_type(jnp.asarray(bits), jnp.float8_e4m3fn), None, "fp8")
    held = Small(jnp.asarray(bits), None, "fp8_bits")
    np.testing.assert_array_equal(widened(held, 254, 0, FLOAT32), widened(plain, 254, 0, FLOAT32))


@pytest.mark.parametrize("size", [1, 7, 32, 75, 128, 131, 256])
@pytest.mark.parametrize(("one", "other"), SAME_NUMBERS)
def test_forms_of_a_cpu_hold_the_same_numbers(one, other, size):
    value = jnp.asarray(normal(size, 3))
    a, b = (quantized(value, (0,), form) for form in (one, other))
    np.testing.assert_array_equal(values_of(a, (size, 3), (0,)), values_of(b, (size, 3), (0,)))


# Largest errors: half a step of the largest of a column, of three bits, of a group's largest.
@pytest.mark.parametrize(
    ("form", "most"), [("int8", 0.5 / 127), ("fp8_bits", 1 / 16), ("int4_pairs", 0.5 / 8)]
)
def test_errors_are_half_a_step(form, most):
    value = normal(256, 5)
    found = values_of(quantized(jnp.asarray(value), (0,), form), (256, 5), (0,))
    if form == "fp8_bits":
        bound = most * np.abs(value) + 2.0**-10 * np.abs(value).max(0) / 448
    elif form == "int8":
        bound = np.broadcast_to(1.001 * most * np.abs(value).max(0), value.shape)
    else:
        step = np.repeat(np.abs(value.reshape(2, 128, 5)).max(1), 128, 0) / 8
        # There is no 8: what has the other sign than the largest may err by a whole step.
        bound = np.where(np.abs(value) < 7.4 * step, 0.505, 1.02) * step
    assert np.all(np.abs(found - value) <= bound)


@pytest.mark.parametrize(
    ("inputs", "parts", "size"),
    [
        (4096, 1, 128),
        (14336, 8, 128),
        (11008, 8, 32),
        (576, 1, 64),
        (96, 1, 32),
        (64, 1, 64),
        (75, 1, 75),
        (262, 2, 1),
        (8, 1, 8),
    ],
)
def test_sizes_of_groups(inputs, parts, size):
    assert group_size(inputs, parts) == size
    assert inputs % (parts * size) == 0


# Letters, the matrix's shape and its input axes, as layers have them; the first is more than one
# tile, with a rest; others have groups within one axis of several.
PRODUCTS = {
    "queries": ("btd,dkch->btkch", (1100, 4, 2, 128), (0,)),
    "gate": ("btd,dcf->btcf", (96, 2, 40), (0,)),
    "down": ("btf,fd->btd", (75, 24), (0,)),
    "out": ("btkgh,kghd->btd", (2, 3, 64, 20), (0, 1, 2)),
}


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("way", ["tiles", "fused"])
def test_products_are_those_of_the_numbers(way, name, form, rows):
    letters, shape, sums = PRODUCTS[name]
    weight = quantized(jnp.asarray(normal(*shape)), sums, form)
    x = normal(rows, 1, *(shape[axis] for axis in sums), seed=1)
    run = {
        "tiles": lambda x, weight: product(letters, x, weight),
        "fused": lambda x, weight: small._fused(letters, x, weight, FLOAT32),
    }[way]
    found = jax.jit(run)(jnp.asarray(x), weight)
    wanted = np.einsum(letters, x.astype(np.float64), values_of(weight, shape, sums))
    assert found.dtype == FLOAT32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("activations", "kept"), [("float32", "bfloat16"), ("bfloat16", "float32")]
)
def test_a_matrix_of_another_dtype_is_multiplied_in_the_wider(activations, kept):
    x, weight = normal(3, 1, 40, seed=1).astype(activations), normal(40, 6).astype(kept)
    found = product("bti,io->bto", jnp.asarray(x), jnp.asarray(weight))
    wanted = np.einsum("bti,io->bto", x.astype(np.float64), weight.astype(np.float64))
    assert found.dtype == jnp.dtype(activations)
    # Rounded once, at the end.
    tolerance = 2.0**-8 if activations == "bfloat16" else 1e-5
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, rtol=tolerance)


@pytest.mark.parametrize("form", FORMS)
def test_groups_of_rows_go_through_their_own_matrices(form):
    shape, sizes = (4, 64, 12), [3, 0, 5, 1]
    weights = quantized(jnp.asarray(normal(*shape)), (1,), form)
    x = normal(9, 64, seed=1)
    found = jax.jit(grouped_dot)(jnp.asarray(x), weights, jnp.asarray(sizes))
    matrices = values_of(weights, shape, (1,))[np.repeat(np.arange(4), sizes)]
    np.testing.assert_allclose(found, np.einsum("mi,mio->mo", x, matrices), atol=2e-4)


def test_the_kernel_for_groups_is_given_int8_as_it_is():
    """As on a TPU, by what JAX says that the kernel computes."""
    shape, sizes = (4, 64, 12), jnp.asarray([3, 0, 5, 1])
    weights = quantized(jnp.asarray(normal(*shape)), (1,), "int8")
    x = jnp.asarray(normal(9, 64, seed=1))
    np.testing.assert_allclose(
        jax.jit(_ragged_int8)(x, weights, sizes), grouped_dot(x, weights, sizes), atol=2e-4
    )


@pytest.mark.parametrize("form", FORMS)
def test_shapes_are_known_beforehand(form):
    for letters, shape, sums in PRODUCTS.values():
        made = quantized(jnp.zeros(shape), sums, form)
        right = letters.split("->")[0].split(",")[1]
        told = parts_of(shape, tuple(right), sums, form, 1, "z")
        assert told.shapes == (made.values.shape, made.scales.shape)
        assert told.dtypes == (made.values.dtype, made.scales.dtype)
        assert [len(axes) for axes in told.axes] == [made.values.ndim, made.scales.ndim]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_loaded_and_what_is_drawn_is_as_told(form):
    config = replace(TINY, weight_form=form)
    shapes = abstract_parameters(config, FLOAT32, make_mesh())
    drawn = random_parameters(config, FLOAT32, 0)
    told = jax.tree.map(lambda each: (each.shape, each.dtype), shapes)
    assert jax.tree.map(lambda each: (each.shape, each.dtype), drawn) == told
    whole = {name for name, value in drawn.items() if not isinstance(value, Small)}
    ends = {"embedding.weight", "head.weight", "norm.weight"}
    assert ends & drawn.keys() <= whole
    assert {name for name in drawn if name not in whole} == {
        f"blocks.{index}.{each}"
        for index in range(TINY.num_layers)
        for each in ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
    }


def test_bytes_are_counted_by_bits():
    shape = (256, 64)
    spec = parameter_specs(TINY)["norm.weight"]._replace(
        shape=shape, axes=("embed", "ffn"), inputs=1, sums=(0,)
    )
    mesh = make_mesh()
    for form, wanted in {
        "": 4 * prod(shape),
        "bfloat16": 2 * prod(shape),
        "int8": prod(shape) + 4 * 64,
        "fp8": prod(shape) + 4 * 64,
        "int4": prod(shape) / 2 + 2 * 2 * 64,
        "int4_pairs": prod(shape) / 2 + 2 * 2 * 64,
    }.items():
        config = replace(TINY, weight_form=form)
        assert held_bytes(config, spec, FLOAT32, mesh) == wanted
    assert held_as(replace(TINY, weight_form="bfloat16"), spec, FLOAT32).dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("weights", ["int8", "fp8", "int4", "float32", "bfloat16"])
def test_a_published_checkpoint_in_every_form(tmp_path, weights, dtype):
    """Made of what is stored, whatever the dtype of all else."""
    tensors = random_tensors(dtype="bfloat16")
    write_published(tmp_path, tensors)
    config, wanted = built_parameters(tmp_path, tensors)
    model = load_model(tmp_path, make_mesh(), dtype, weights)
    assert not model.config.turned or weights == dtype
    form = model.config.weight_form
    for name, spec in parameter_specs(config).items():
        value = model.parameters[name]
        if form and small.has_scales(form) and spec.sums:
            made = quantized(wanted[name], spec.sums, form)
            np.testing.assert_array_equal(value.values, made.values, err_msg=name)
            np.testing.assert_array_equal(value.scales, made.scales, err_msg=name)
        else:
            kept = weights if form and spec.sums else dtype
            assert value.dtype == jnp.dtype(kept), name


def test_a_checkpoint_of_ours_in_int8(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY_CONFIG))
    save_weights(tmp_path, tiny_parameters())
    model = load_model(tmp_path, make_mesh(), "float32", "int8")
    name = "blocks.0.mlp.down"
    wanted = quantized(tiny_parameters()[name], (0,), "int8")
    np.testing.assert_array_equal(model.parameters[name].values, wanted.values)
    np.testing.assert_array_equal(
        model.parameters["embedding.weight"], tiny_parameters()["embedding.weight"]
    )


@pytest.mark.parametrize(
    "form", ["int8", *(pytest.param(form, marks=pytest.mark.slow) for form in ("fp8", "int4"))]
)
@pytest.mark.parametrize("name", VARIANTS)
def test_families_compute_with_the_numbers_of_the_form(quickly, name, form):
    """Each has the logits of the same decoder that holds these numbers in full."""
    kept = load_model(MODELS / name, make_mesh(), "float32", form)
    specs = parameter_specs(kept.config)
    full = {
        name: (
            jnp.asarray(values_of(value, specs[name].shape, specs[name].sums), jnp.float32)
            if isinstance(value, Small)
            else value
        )
        for name, value in kept.parameters.items()
    }
    config = replace(kept.config, weight_form="", weight_parts=1)
    assert full.keys() == parameter_specs(config).keys()
    ids = jnp.asarray(np.random.default_rng(0).integers(0, config.vocab_size, 24))

    def logits(config, parameters):
        return logits_of(decoder_with(config, parameters), ids)

    found, wanted = (
        jax.jit(logits, static_argnums=0)(*each)
        for each in ((kept.config, kept.parameters), (config, full))
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def test_a_form_that_is_none():
    with pytest.raises(CheckpointError, match="weights is 'int3'; it must be one of full, float32"):
        load_model(directory(), make_mesh(), "float32", "int3")


# Prints the most memory that loading takes beyond the start's, what is kept, and the largest
# parameter in full.
LOADING = """
import gc, sys, jax
from pathlib import Path
import jax.numpy as jnp
from model.loading import load_model
from model.mesh import make_mesh
from model.parameters import parameter_specs
from math import prod
from pathlib import Path

def told(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))

# What the programs take that make the matrices is there already.
load_model(Path(sys.argv[3]), make_mesh(), "bfloat16", sys.argv[2])
gc.collect()
before = told("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
model = load_model(Path(sys.argv[1]), make_mesh(), "bfloat16", sys.argv[2])
kept = sum(each.nbytes for each in jax.tree.leaves(model.parameters))
largest = max(prod(spec.shape) for spec in parameter_specs(model.config).values())
print(told("VmHWM") - before, kept, 2 * largest)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
@pytest.mark.parametrize("weights", ["int8", "fp8", "int4"])
def test_loading_takes_little_more_than_what_is_kept(tmp_path, weights):
    config = LLAMA | {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 1024,
    }
    one, all_ = tmp_path / "one", tmp_path / "all"
    for place, layers in ((one, 1), (all_, 10)):
        place.mkdir()
        shape = config | {"num_hidden_layers": layers}
        write_published(place, random_tensors(shape), shape, shards=layers)
    command = [sys.executable, "-c", LOADING, str(all_), weights, str(one)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, kept, largest = map(int, done.stdout.split())
    print(f"{peak >> 20} MiB at most, {kept >> 20} MiB kept, {largest >> 20} MiB the largest")
    assert peak <= 1.3 * kept + largest
