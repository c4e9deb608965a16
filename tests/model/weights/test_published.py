"""Published checkpoints: what is in the files is what runs, and every broken one is refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from support.published import LLAMA, built_parameters, random_tensors, write_published
from support.tiny import inputs_first

from model.config import CheckpointError
from model.families.registry import read_family
from model.families.stored import Stored
from model.loading import load_model
from model.mesh import make_mesh
from model.weights import published
from model.weights.published import PublishedWeights
from model.weights.safetensors import INDEX, SINGLE, SafetensorsStore

QWEN3 = LLAMA | {"architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True}


def assert_same(parameters: dict[str, jax.Array], wanted: dict[str, jax.Array]) -> None:
    assert parameters.keys() == wanted.keys()
    for name, value in parameters.items():
        np.testing.assert_array_equal(value, wanted[name], err_msg=name)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_parameters_are_the_built_tensors(tmp_path, shards, dtype):
    tensors = random_tensors(dtype=dtype)
    write_published(tmp_path, tensors, shards=shards)
    config, wanted = built_parameters(tmp_path, tensors)
    model = load_model(tmp_path, make_mesh(), "float32")
    assert model.config == config
    assert {value.dtype for value in model.parameters.values()} == {jnp.dtype("float32")}
    assert_same(model.parameters, wanted)


def test_values_are_rounded_to_the_wanted_dtype(tmp_path):
    tensors = random_tensors(dtype="float32")
    write_published(tmp_path, tensors)
    _, wanted = built_parameters(tmp_path, tensors)
    model = load_model(tmp_path, make_mesh(), "bfloat16")
    assert_same(
        inputs_first(model), {name: value.astype("bfloat16") for name, value in wanted.items()}
    )


def test_qk_norms_tied_heads_and_what_has_no_effect(tmp_path):
    tensors = random_tensors(QWEN3)
    for index in range(2):
        for norm in ("q_norm", "k_norm"):
            name = f"model.layers.{index}.self_attn.{norm}.weight"
            tensors[name] = np.full(8, 1 + index, jnp.bfloat16)
        tensors[f"model.layers.{index}.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float64)
    write_published(tmp_path, tensors, QWEN3)
    _, wanted = built_parameters(tmp_path, tensors)
    assert "head.weight" not in wanted
    assert_same(load_model(tmp_path, make_mesh(), "float32").parameters, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_biases_of_zeros_change_nothing(tmp_path, dtype):
    tensors = random_tensors()
    for name in [name for name in tensors if "_proj." in name]:
        bias = np.zeros(len(tensors[name]), jnp.dtype(dtype))
        tensors[name.replace(".weight", ".bias")] = bias
    write_published(tmp_path, tensors)
    _, wanted = built_parameters(tmp_path, tensors)
    assert_same(load_model(tmp_path, make_mesh(), "float32").parameters, wanted)
    # One that adds something is another model's.
    tensors["model.layers.1.mlp.up_proj.bias"][-1] = 1
    write_published(tmp_path, tensors)
    with pytest.raises(CheckpointError, match=r"1\.mlp\.up_proj\.bias, for which .* \(1 such"):
        load_model(tmp_path, make_mesh(), "float32")


@pytest.mark.parametrize("by_program", [False, True])
def test_a_file_may_change_once_it_is_loaded(tmp_path, monkeypatch, by_program):
    if by_program:
        monkeypatch.setattr(published, "copies", lambda *arguments: None)
    tensors = random_tensors()
    write_published(tmp_path, tensors)
    _, wanted = built_parameters(tmp_path, tensors)
    model = load_model(tmp_path, make_mesh(), "bfloat16")
    file = tmp_path / SINGLE
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert_same(inputs_first(model), wanted)


def test_tensors_at_odd_offsets(tmp_path):
    tensors = random_tensors()
    write_published(tmp_path, tensors)
    _, wanted = built_parameters(tmp_path, tensors)
    content = (tmp_path / SINGLE).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip() + b" "
    header += b" " * (1 - len(header) % 2)
    (tmp_path / SINGLE).write_bytes(
        len(header).to_bytes(8, "little") + header + content[8 + length :]
    )
    assert_same(load_model(tmp_path, make_mesh(), "float32").parameters, wanted)


def double(tensor: jax.Array) -> jax.Array:
    return tensor * 2


def test_builds_that_compute(tmp_path, monkeypatch):
    write_published(tmp_path, random_tensors())
    family, config = read_family(tmp_path)
    weights = {
        name: Stored(stored.tensors, double) if name == "norm.weight" else stored
        for name, stored in family.weights(config).items()
    }
    store = SafetensorsStore(tmp_path)
    loaded = PublishedWeights(tmp_path, store, family._replace(weights=lambda _: weights), config)
    ((_, value),) = loaded.load(["norm.weight"], jnp.dtype("float32"), make_mesh(), config)
    expected = random_tensors()["model.norm.weight"].astype(np.float32) * 2
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["gpt-oss-mxfp4", "mixtral", "olmo-2", "phi-3", "qwen-3-moe"])
def test_copies_and_programs_agree(name, dtype, monkeypatch):
    directory = Path(__file__).parents[2] / "fixtures" / "models" / name
    copied = load_model(directory, make_mesh(), dtype)
    assert copied.config.turned == (dtype == "bfloat16")
    monkeypatch.setattr(published, "copies", lambda *arguments: None)
    assert_same(load_model(directory, make_mesh(), dtype).parameters, copied.parameters)


def test_bfloat16_on_a_cpu_is_copied_as_it_lies(tmp_path, monkeypatch):
    """A transposition is many times slower than a copy."""
    copied = []
    monkeypatch.setattr(
        published, "copy_view", lambda target, source, _: copied.append((target, source))
    )
    write_published(tmp_path, random_tensors())
    load_model(tmp_path, make_mesh(), "bfloat16")
    assert copied
    for target, source in copied:
        assert target.strides[-1] == source.strides[-1] == 2


def test_every_device_gets_its_shard(tmp_path):
    """In a process of its own, for the number of devices is settled when JAX starts."""
    config = LLAMA | {"vocab_size": 68}
    write_published(tmp_path, random_tensors(config), config)
    code = f"""
from pathlib import Path
import numpy as np
from model.loading import load_model
from model.mesh import make_mesh
one = load_model(Path({str(tmp_path)!r}), make_mesh(), "bfloat16").parameters
two = load_model(Path({str(tmp_path)!r}), make_mesh(1, 2), "bfloat16").parameters
for name, value in one.items():
    np.testing.assert_array_equal(value, two[name])
shards = two["blocks.0.attention.qkv"].addressable_shards
assert [shard.data.shape for shard in shards] == [(1, 5, 8, 32)] * 2, shards
"""
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": str(Path(published.__file__).parents[2]),
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


Break = Callable[[Path], None]


def edit_header(file: Path, change: Callable[[dict], None]) -> None:
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def header_of(name: str, **changes) -> Break:
    """Change one tensor's header in a checkpoint of one file."""
    return lambda path: edit_header(path / SINGLE, lambda header: header[name].update(changes))


def without(name: str) -> Break:
    tensors = random_tensors()
    del tensors[name]
    return lambda path: save_file(tensors, path / SINGLE)


def with_tensor(name: str, tensor: np.ndarray) -> Break:
    tensors = random_tensors() | {name: tensor}
    return lambda path: save_file(tensors, path / SINGLE)


def both(*changes: Break) -> Break:
    """One change after another."""

    def change(path: Path) -> None:
        for each in changes:
            each(path)

    return change


def truncate(path: Path) -> None:
    os.truncate(path / SINGLE, (path / SINGLE).stat().st_size - 10)


def write(name: str, content: bytes) -> Break:
    return lambda path: (path / name).write_bytes(content) and None


def grow(path: Path) -> None:
    with (path / SINGLE).open("ab") as file:
        file.write(b"more")


def only(name: str) -> Break:
    def change(path: Path) -> None:
        (path / SINGLE).rename(path / name)

    return change


def replace_by_directory(path: Path) -> None:
    (path / SINGLE).unlink()
    (path / SINGLE).mkdir()


def remove(path: Path) -> None:
    (path / SINGLE).unlink()


def add_ours(path: Path) -> None:
    (path / "weights").mkdir()


def add_index(path: Path) -> None:
    (path / INDEX).write_text('{"weight_map": {"norm": "model-1.safetensors"}}')


NORM = "model.norm.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"
BROKEN_FILE: dict[str, tuple[Break, str]] = {
    "truncated": (truncate, r"model\.safetensors is \d+ bytes long .* truncated"),
    "too long": (grow, "not what was written"),
    "empty": (write(SINGLE, b""), "truncated or no safetensors"),
    "header alone": (write(SINGLE, bytes([200, 0, 0, 0, 0, 0, 0, 0, 123])), "header of 200"),
    "huge header": (write(SINGLE, b"\xff" * 100), "truncated or no safetensors"),
    "no JSON": (write(SINGLE, bytes([3, 0, 0, 0, 0, 0, 0, 0]) + b"{{{"), "damaged header"),
    "no UTF-8": (write(SINGLE, bytes([3, 0, 0, 0, 0, 0, 0, 0]) + b"\xff{}"), "damaged header"),
    "no object": (write(SINGLE, bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"[]"), "damaged header"),
    "a git pointer": (
        write(SINGLE, b"version https://git-lfs.github.com/spec/v1\n"),
        "a pointer that Git LFS left",
    ),
    "deep": (write(SINGLE, (60_000).to_bytes(8, "little") + b"[" * 60_000), "damaged header"),
    "a directory": (replace_by_directory, "cannot be read"),
    "overlap": (header_of(NORM, data_offsets=[0, 64]), "damaged header.*next free"),
    "beyond": (header_of(NORM, data_offsets=[10**9, 10**9 + 64]), "damaged header"),
    "backwards": (header_of(NORM, data_offsets=[64, 0]), "damaged header"),
    "negative": (header_of(NORM, data_offsets=[-64, 0]), "damaged header.*data_offsets"),
    "one offset": (header_of(NORM, data_offsets=[0]), "damaged header"),
    "no numbers": (header_of(NORM, shape=["32"]), "damaged header.*shape"),
    "size and shape": (header_of(NORM, shape=[33]), r"BF16 of shape \(33,\) in 64 bytes; .* 66"),
    "size and shape of parts": (
        both(
            with_tensor(DOWN, np.zeros((32, 48), jnp.float8_e4m3fn)),
            header_of(DOWN, shape=[32, 49]),
        ),
        r"F8_E4M3 of shape \(32, 49\) in 1536 bytes; .* 1568",
    ),
    "wrong shape": (
        with_tensor(DOWN, np.zeros((32, 47), jnp.bfloat16)),
        r"does not fit config\.json: .*down_proj\.weight \(32, 47\) cannot be blocks\.1\.mlp\.down",
    ),
    "wrong heads": (
        with_tensor("model.layers.0.self_attn.q_proj.weight", np.zeros((50, 32), jnp.bfloat16)),
        r"q_proj\.weight \(50, 32\) and .* cannot be blocks\.0\.attention\.qkv",
    ),
    "missing tensor": (without(DOWN), f"lacks the tensor {DOWN} \\(1 are missing\\)"),
    "extra tensor": (
        with_tensor("model.layers.0.self_attn.q_proj.bias", np.ones(48, jnp.bfloat16)),
        r"has the tensor model\.layers\.0\.self_attn\.q_proj\.bias, for which .* no use",
    ),
    "one layer more": (
        with_tensor("model.layers.2.mlp.up_proj.weight", np.zeros((48, 32), jnp.bfloat16)),
        r"model\.layers\.2\.mlp\.up_proj",
    ),
    "unknown dtype": (header_of(NORM, dtype="Q4_K"), "norm.weight as Q4_K; weights can be BF16"),
    "float8": (
        with_tensor(DOWN, np.zeros((32, 48), jnp.float8_e4m3fn)),
        "down_proj.weight as F8_E4M3; weights can be",
    ),
    "bytes for numbers": (
        with_tensor(DOWN, np.zeros((32, 48), np.uint8)),
        "as U8, and blocks.1.mlp.down needs numbers",
    ),
    "nothing": (remove, "has no weights; give a directory with"),
    "pytorch": (only("pytorch_model.bin"), r"PyTorch's pickles \(pytorch_model\.bin\)"),
    "gguf": (only("model-q4.gguf"), r"in GGUF \(model-q4\.gguf\), which is read where"),
    "a lone shard": (only("model-00001-of-00002.safetensors"), "neither model.safetensors nor"),
    "two formats": (add_ours, "has both weights/ and safetensors"),
    "two layouts": (add_index, "has both model.safetensors and model.safetensors.index.json"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("whole") / "model", random_tensors())


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("sharded") / "model", random_tensors(), shards=3)


@pytest.mark.parametrize("way", BROKEN_FILE)
def test_a_broken_file_is_refused(whole, tmp_path, way):
    change, message = BROKEN_FILE[way]
    directory = shutil.copytree(whole, tmp_path / "model")
    change(directory)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(directory, make_mesh(), "float32")
    assert "\n" not in str(caught.value)


def edit_index(change: Callable[[dict], None]) -> Break:
    def edit(path: Path) -> None:
        index = json.loads((path / INDEX).read_text())
        change(index["weight_map"])
        (path / INDEX).write_text(json.dumps(index))

    return edit


def second_shard(path: Path) -> Path:
    return sorted(path.glob("*.safetensors"))[1]


def drop_shard(path: Path) -> None:
    second_shard(path).unlink()


def shorten_shard(path: Path) -> None:
    os.truncate(second_shard(path), 500)


BROKEN_INDEX: dict[str, tuple[Break, str]] = {
    "missing shard": (drop_shard, r"model-00002-of-\d+\.safetensors is missing"),
    "truncated shard": (shorten_shard, r"model-00002-of-\d+\.safetensors is truncated"),
    "no JSON": (write(INDEX, b"{"), "not valid JSON"),
    "no map": (write(INDEX, b"{}"), "no weight_map"),
    "empty map": (write(INDEX, b'{"weight_map": {}}'), "no weight_map"),
    "a number for a file": (edit_index(lambda names: names.update({NORM: 3})), "no weight_map"),
    "outside": (
        edit_index(lambda names: names.update({NORM: "../model-00001-of-00003.safetensors"})),
        "not a file beside it",
    ),
    "another file": (
        edit_index(lambda names: names.update({NORM: names["model.embed_tokens.weight"]})),
        f"lies: it has {NORM} in",
    ),
    "a tensor that is not there": (
        edit_index(lambda names: names.update({"model.none": names[NORM]})),
        "lies: .* does not hold model.none",
    ),
    "a tensor left out": (edit_index(lambda names: names.pop(NORM)), "lies: it has .* in no file"),
}


@pytest.mark.parametrize("way", BROKEN_INDEX)
def test_a_broken_index_is_refused(sharded, tmp_path, way):
    change, message = BROKEN_INDEX[way]
    directory = shutil.copytree(sharded, tmp_path / "model")
    change(directory)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(directory, make_mesh(), "float32")
    assert "\n" not in str(caught.value)
