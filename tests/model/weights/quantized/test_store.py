"""Quantized checkpoints: every matrix is what its codes, scales and zero points stand for.

Checkpoints are packed number by number (`support/quantized.py`); those under
`fixtures/quantized` were written, and read, by the formats' own programs
(`tools/make_quantized_fixtures.py`).
"""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from support.published import built_parameters, random_tensors, write_published
from support.quantized import FORMS, Tensors, random_quantized, write_quantized
from support.tiny import inputs_first

from model.config import CheckpointError
from model.convert import convert
from model.loading import load_model
from model.mesh import make_mesh
from model.weights import published
from model.weights.quantized.schemes import read_scheme
from model.weights.quantized.store import DequantizedStore
from model.weights.safetensors import MappedTensors, SafetensorsStore

Q_PROJ = "model.layers.1.self_attn.q_proj"
DOWN = "model.layers.0.mlp.down_proj"


def assert_loaded(directory: Path, plain: Tensors, dtype: str = "float32") -> None:
    model = load_model(directory, make_mesh(), dtype)
    _, wanted = built_parameters(directory, plain)
    parameters = inputs_first(model)
    assert parameters.keys() == wanted.keys()
    for name, value in parameters.items():
        np.testing.assert_array_equal(value, wanted[name].astype(dtype), err_msg=name)


@pytest.mark.parametrize("name", FORMS)
def test_parameters_are_what_the_codes_stand_for(tmp_path, name):
    stored, plain = random_quantized(FORMS[name])
    write_quantized(tmp_path, FORMS[name], stored)
    assert_loaded(tmp_path, plain)


def test_parts_of_a_matrix_in_several_files(tmp_path):
    stored, plain = random_quantized(FORMS["gptq"])
    # In turns, so that what belongs together is apart.
    order = [name for part in range(4) for name in list(stored)[part::4]]
    write_quantized(tmp_path, FORMS["gptq"], {name: stored[name] for name in order}, shards=3)
    assert_loaded(tmp_path, plain)


@pytest.mark.parametrize("by_program", [False, True])
def test_values_are_rounded_once_to_the_wanted_dtype(tmp_path, monkeypatch, by_program):
    if by_program:
        monkeypatch.setattr(published, "copies", lambda *arguments: None)
    stored, plain = random_quantized(FORMS["fp8-block"])
    write_quantized(tmp_path, FORMS["fp8-block"], stored)
    assert_loaded(tmp_path, plain, "bfloat16")


def test_a_quantized_checkpoint_is_converted(tmp_path):
    stored, plain = random_quantized(FORMS["awq"])
    source = write_quantized(tmp_path / "source", FORMS["awq"], stored)
    convert(source, tmp_path / "target", "float32")
    assert_loaded(tmp_path / "target", plain)


FIXTURES = Path(__file__).parents[3] / "fixtures" / "quantized"


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.iterdir()))
def test_a_matrix_is_what_the_reference_makes_of_it(name):
    directory = FIXTURES / name
    scheme, _ = read_scheme(directory)
    assert scheme is not None
    store = DequantizedStore(directory, SafetensorsStore(directory), scheme)
    expected = load_file(directory / "expected.safetensors")
    assert list(store.listed()) == list(expected)
    opened = store.opened(list(expected))
    for tensor, wanted in expected.items():
        # The reference has its values in the scales' dtype, and ours are rounded to it once.
        np.testing.assert_array_equal(opened[tensor].astype(wanted.dtype), wanted)
        assert store.listed()[tensor].shape == opened[tensor].shape
        assert store.listed()[tensor].dtype == opened[tensor].dtype


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ct-packed-channel-zeros", (20, 36)),
        ("fp8-by-name", (130, 8)),
        ("gptq", (20, 32)),
        ("gptq-rows", (20, 32)),
    ],
)
def test_a_matrix_that_fills_no_words_and_no_blocks(tmp_path, name, shape):
    stored, weight = FORMS[name].draw(np.random.default_rng(0), DOWN, shape)
    write_quantized(tmp_path, FORMS[name], stored)
    scheme, _ = read_scheme(tmp_path)
    assert scheme is not None
    store = DequantizedStore(tmp_path, SafetensorsStore(tmp_path), scheme)
    (matrix,) = store.listed()
    np.testing.assert_array_equal(store.opened([matrix])[matrix], weight)


def test_what_a_matrix_was_made_of_is_given_back(tmp_path, monkeypatch):
    stored, _ = random_quantized(FORMS["gptq"])
    write_quantized(tmp_path, FORMS["gptq"], stored)
    scheme, _ = read_scheme(tmp_path)
    assert scheme is not None
    opened = DequantizedStore(tmp_path, SafetensorsStore(tmp_path), scheme).opened(
        [f"{DOWN}.weight", "model.norm.weight"]
    )
    given: list[tuple[int, ...]] = []
    monkeypatch.setattr(MappedTensors, "release", lambda _, view: given.append(view.shape))
    assert opened[f"{DOWN}.weight"].shape == (32, 48)
    parts = [value.shape for name, value in stored.items() if name.startswith(DOWN)]
    assert sorted(given) == sorted(parts)
    # What is not made is given back by whoever reads it.
    opened.release(opened["model.norm.weight"])
    assert given[len(parts) :] == [(32,)]


FAMILIES = FIXTURES.parent / "models"


@pytest.mark.parametrize("form", ["fp8-block", "awq"])
@pytest.mark.parametrize("family", ["gemma-3", "mixtral", "phi-3", "qwen-3-moe"])
def test_families_know_nothing_of_it(tmp_path, family, form):
    """Joined projections, experts, and norms and embeddings between them."""
    generator = np.random.default_rng(0)
    stored, plain = {}, load_file(FAMILIES / family / "model.safetensors")
    for name, tensor in plain.items():
        if tensor.ndim == 2 and not name.endswith(("embed_tokens.weight", "gate.weight")):
            module = name.removesuffix(".weight")
            parts, plain[name] = FORMS[form].draw(generator, module, tensor.shape)
            stored |= parts
        else:
            stored[name] = tensor
    config = json.loads((FAMILIES / family / "config.json").read_text())
    write_published(tmp_path, stored, config | {FORMS[form].key: FORMS[form].said})
    assert_loaded(tmp_path, plain)


def test_a_matrix_takes_the_bytes_of_its_parts(tmp_path):
    stored, _ = random_quantized(FORMS["gptq"])
    write_quantized(tmp_path, FORMS["gptq"], stored)
    scheme, _ = read_scheme(tmp_path)
    assert scheme is not None
    listed = DequantizedStore(tmp_path, SafetensorsStore(tmp_path), scheme).listed()
    # Of 48 x 32 codes: half a byte each, two groups of 48 scales of two bytes and zero points
    # of half a byte, and four bytes for the group of each of 32 columns.
    assert listed[f"{Q_PROJ}.weight"].size == 768 + 192 + 48 + 128
    assert set(listed) == set(random_tensors())


def test_few_large_matrices_are_made_at_a_time(tmp_path, monkeypatch):
    started = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            started.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(published, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    # The largest parameter is made of two matrices of 48 x 32 values of four bytes.
    monkeypatch.setattr(published, "_MADE_BYTES", 2 * (2 * 48 * 32 * 4))
    stored, plain = random_quantized(FORMS["gptq"])
    assert_loaded(write_quantized(tmp_path / "quantized", FORMS["gptq"], stored), plain)
    assert_loaded(write_published(tmp_path / "plain", random_tensors()), random_tensors())
    assert started == [2, 4]


Change = Callable[[Tensors], object]


def without(suffix: str) -> Change:
    """Without a part of one matrix."""
    return lambda tensors: tensors.pop(f"{DOWN}.{suffix}")


def cut(suffix: str, *index: slice) -> Change:
    """With less of one part."""

    def change(tensors: Tensors) -> None:
        name = f"{DOWN}.{suffix}"
        tensors[name] = np.ascontiguousarray(tensors[name][index])

    return change


def of(suffix: str, dtype: str) -> Change:
    """With a part as numbers of another kind."""

    def change(tensors: Tensors) -> None:
        tensors[f"{DOWN}.{suffix}"] = tensors[f"{DOWN}.{suffix}"].astype(jnp.dtype(dtype))

    return change


def filled(suffix: str, value: int) -> Change:
    """With another value first."""

    def change(tensors: Tensors) -> None:
        tensors[f"{DOWN}.{suffix}"] = tensors[f"{DOWN}.{suffix}"].copy()
        tensors[f"{DOWN}.{suffix}"].flat[0] = value

    return change


def cleared(*suffixes: str) -> Change:
    """With parts of a matrix of no rows and columns."""

    def change(tensors: Tensors) -> None:
        for suffix in suffixes:
            empty = np.zeros(2 if suffix == "weight_shape" else (0, 0))
            tensors[f"{DOWN}.{suffix}"] = empty.astype(tensors[f"{DOWN}.{suffix}"].dtype)

    return change


def more(name: str, value: np.ndarray) -> Change:
    """With one tensor more."""
    return lambda tensors: tensors.update({name: value})


def plain(tensors: Tensors) -> None:
    """As it was before it was quantized."""
    tensors.clear()
    tensors.update(random_tensors())


HEAD = "lm_head.weight"
BROKEN: dict[str, tuple[str, Change, str]] = {
    "no scales": ("gptq", without("scales"), rf"has {DOWN}\.\w+ and no {DOWN}\.scales, without"),
    "no zero points": ("awq", without("qzeros"), rf"no {DOWN}\.qzeros, without"),
    "no scale of floats": ("fp8-block", without("weight_scale_inv"), "no .*weight_scale_inv"),
    "no shape": ("ct-packed", without("weight_shape"), r"no .*down_proj\.weight_shape"),
    "no packed zero points": ("ct-packed-zeros", without("weight_zero_point"), "no .*zero_point"),
    "too few scales": (
        "gptq",
        cut("scales", slice(2)),
        rf"{DOWN}\.scales of shape \(2, 32\); .* it must be \(3, 32\)",
    ),
    "too few blocks": (
        "fp8-block",
        cut("weight_scale_inv", slice(None), slice(1)),
        r"weight_scale_inv of shape \(2, 1\); .* must be \(2, 3\)",
    ),
    "scales for rows": (
        "ct-float-tensor",
        more(f"{DOWN}.weight_scale", np.ones((32, 1), np.float32)),
        r"weight_scale of shape \(32, 1\); .* must be \(1,\) or \(\) or \(1, 1\)",
    ),
    "too few codes": (
        "ct-packed",
        cut("weight_packed", slice(None), slice(5)),
        r"weight_packed of shape \(32, 5\); .* must be \(32, 6\)",
    ),
    "another shape": ("ct-packed", filled("weight_shape", 31), r"must be \(31, 6\)"),
    "an empty shape": (
        "ct-packed",
        cleared("weight_shape", "weight_packed", "weight_scale"),
        r"weight_packed of shape \(0, 0\); .* must be of 2 axes with values",
    ),
    "an empty matrix": (
        "gptq-rows",
        cleared("qweight"),
        r"qweight of shape \(0, 0\); .* must be of 2 axes with values",
    ),
    "integers for scales": ("awq", of("scales", "int32"), "scales as I32; .* BF16 or F16 or F32"),
    "bytes for words": ("gptq", of("qzeros", "int8"), "qzeros as I8; .* must be I32"),
    "floats for integers": (
        "ct-int-channel",
        of("weight", "float8_e4m3fn"),
        "weight as F8_E4M3; .* must be I8",
    ),
    "three axes": (
        "ct-int-channel",
        more(f"{DOWN}.weight", np.zeros((1, 32, 48), np.int8)),
        r"of shape \(1, 32, 48\); .* must be of 2 axes with values",
    ),
    "no such group": (
        "gptq-ordered",
        filled("g_idx", 3),
        "g_idx has groups from 0 to 3, and there",
    ),
    "a group below": ("gptq-ordered", filled("g_idx", -1), "g_idx has groups from -1 to 2, and"),
    "ignored and quantized": (
        "ct-float-channel",
        more(HEAD, np.zeros((67, 32), jnp.float8_e4m3fn)),
        r"says that lm_head is not quantized \(lm_head\), and its tensors are \(weight\)",
    ),
    "before and after": (
        "gptq",
        more(f"{DOWN}.weight", np.zeros((32, 48), np.float16)),
        rf"has {DOWN}\.qweight beside {DOWN}\.weight, one of which is too much",
    ),
    "not quantized": ("awq", plain, r"quantized \(awq\), and none of its tensors is; give"),
    "other floats": ("gptq", more(HEAD, np.zeros((67, 32), jnp.float8_e4m3fn)), "as F8_E4M3; weig"),
    "a part of nothing": ("gptq", more("model.norm.g_idx", np.zeros(2, np.int32)), "has no use"),
    "another matrix": (
        "awq",
        cut("qweight", slice(32)),
        r"scales of shape \(3, 32\); .* it must be \(2, 32\)",
    ),
}


@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_checkpoint_is_refused(tmp_path, way):
    name, change, message = BROKEN[way]
    stored, _ = random_quantized(FORMS[name])
    change(stored)
    write_quantized(tmp_path, FORMS[name], stored)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(tmp_path, make_mesh(), "float32")
    assert "\n" not in str(caught.value)


def test_a_module_of_no_group_is_refused(tmp_path):
    stored, _ = random_quantized(FORMS["ct-mixed"])
    groups = FORMS["ct-mixed"].said["config_groups"]
    left = {name: groups[name] for name in ("group_1", "group_2")}
    write_quantized(tmp_path, FORMS["ct-mixed"], stored, config_groups=left)
    with pytest.raises(CheckpointError, match=r"has no group for model\.layers\.\d\.\w+\.\w+_proj"):
        load_model(tmp_path, make_mesh(), "float32")


def test_what_is_kept_in_full_is_told_once(tmp_path, caplog):
    stored, plain = random_quantized(FORMS["ct-int-channel"])
    cache = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}
    stored |= {
        f"model.layers.{index}.self_attn.k_scale": np.ones(1, np.float32) for index in (0, 1)
    }
    write_quantized(tmp_path, FORMS["ct-int-channel"], stored, kv_cache_scheme=cache)
    with caplog.at_level(logging.INFO, logger="model"):
        assert_loaded(tmp_path, plain)
    kept = "they are kept in the model's own dtype"
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path} asks for a cache in float of 8 bits; {kept}",
        f"{tmp_path} asks for activations in int of 8 bits; {kept}",
    ]
