"""Adapters compute what PEFT's merged models compute, alone and side by side.

The fixtures are adapters as PEFT saves them, with the logits of the model that each was merged
into (`tools/make_adapter_fixtures.py`).
"""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from model.cache import Cache, empty_cache
from model.config import CheckpointError
from model.loading import LoadedModel, open_model
from model.mesh import make_mesh
from model.paged import KEYS_PER_TURN
from model.parameters import count_parameters
from model.peft import read_adapter_config
from model.steps import RowTokens, StepInputs, forward, logits, step_inputs

FIXTURES = Path(__file__).parents[1] / "fixtures"
ADAPTERS = FIXTURES / "adapters"
VARIANTS = sorted(path.name for path in ADAPTERS.iterdir())
TOLERANCE = 1e-4
PAGE_SIZE, ROWS, CONTEXT = 16, 10, 128
WIDTH = KEYS_PER_TURN // PAGE_SIZE * (CONTEXT // KEYS_PER_TURN)


def model_of(name: str) -> str:
    """The tiny model that a fixture changes."""
    return (ADAPTERS / name / "model.txt").read_text().strip()


class Adapted:
    """A model with adapters, run in steps of any rows."""

    def __init__(self, model: str, names: Sequence[str], dtype: str = "float32") -> None:
        directories = {f"{number} {name}": ADAPTERS / name for number, name in enumerate(names)}
        opened = open_model(FIXTURES / "models" / model, make_mesh(), dtype, adapters=directories)
        self.model: LoadedModel = opened.load()
        assert self.model.adapters is not None
        assert self.model.adapters.names == tuple(directories)
        plain = self.model.config.for_context(CONTEXT)
        self.config = replace(plain, adapters=self.model.adapters.shape)
        self.tokens = load_file(FIXTURES / "models" / model / "expected.safetensors")["tokens"]
        self._step = jax.jit(self._step_impl)

    def _step_impl(self, cache: Cache, inputs: StepInputs, adapters: jax.Array):
        assert self.model.adapters is not None
        held = self.model.parameters | self.model.adapters.parameters
        last, picks = jnp.zeros(ROWS, jnp.int32), jnp.arange(inputs.tokens.shape[1])
        picked, _, _ = forward(self.config, held, cache, last, inputs, picks, adapters)
        return logits(self.config, held, picked)

    def run(self, rows: Sequence[int | None]) -> list[np.ndarray]:
        """Logits after each token of the text, in rows with these adapters, None for a gap."""
        cache = empty_cache(
            self.config,
            pages=ROWS * WIDTH,
            page_size=PAGE_SIZE,
            rows=ROWS,
            table_width=WIDTH,
            dtype=self.model.dtype,
        )
        parts = [
            RowTokens(slot, 0, self.tokens.tolist(), range(slot * WIDTH, (slot + 1) * WIDTH))
            for slot, adapter in enumerate(rows)
            if adapter is not None
        ]
        inputs, firsts = step_inputs(parts, ROWS * len(self.tokens), ROWS, PAGE_SIZE)
        adapters = np.full(ROWS, -1, np.int32)
        adapters[: len(rows)] = [-1 if adapter is None else adapter for adapter in rows]
        found = np.asarray(self._step(cache, inputs, adapters))
        return [found[first : first + len(self.tokens)] for first in firsts]


def expected(name: str) -> np.ndarray:
    """What PEFT's merged model computes."""
    return load_file(ADAPTERS / name / "expected.safetensors")["logits"]


@pytest.mark.parametrize("name", VARIANTS)
def test_an_adapter_computes_what_the_merged_model_does(name: str) -> None:
    adapted = Adapted(model_of(name), [name])
    with_it, without = adapted.run([0, -1])
    np.testing.assert_allclose(with_it, expected(name), atol=TOLERANCE)
    base = load_file(FIXTURES / "models" / model_of(name) / "expected.safetensors")["logits"]
    np.testing.assert_allclose(without, base, atol=TOLERANCE)
    assert np.abs(with_it - without).max() > 1


def test_eight_adapters_in_one_step_leave_each_others_bits_alone() -> None:
    names = ["all-linear", "queries-and-values", "patterns"] * 2 + ["patterns", "all-linear"]
    adapted = Adapted("llama-3.1", names)
    together = adapted.run([*range(8), -1])
    base = load_file(FIXTURES / "models" / "llama-3.1" / "expected.safetensors")["logits"]
    for found, wanted in zip(together, [*map(expected, names), base], strict=True):
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
    for row in (0, 4, 7, 8):
        alone = [-1] * 9
        alone[row] = row if row < 8 else -1
        np.testing.assert_array_equal(adapted.run(alone)[row], together[row])
    # In other slots.
    for row, found in zip((6, 1), adapted.run([6, 1]), strict=True):
        np.testing.assert_allclose(found, together[row], atol=1e-5)


def test_bfloat16_differs_by_its_rounding() -> None:
    adapted = Adapted("llama-3.1", ["patterns", "all-linear"], "bfloat16")
    assert adapted.model.dtype == jnp.bfloat16
    names = ["all-linear", "patterns"]
    for name, found in zip(names, adapted.run([1, 0]), strict=True):
        wanted = expected(name)
        assert np.abs(np.float32(found) - wanted).mean() < 0.06 * wanted.std()


def test_what_an_adapter_holds_is_none_of_the_models_parameters() -> None:
    adapted = Adapted("llama-3.1", ["queries-and-values", "all-linear"])
    held = adapted.model.adapters
    assert held is not None
    assert (held.shape.count, held.shape.rank) == (2, 16)
    assert set(held.shape.projections) == {"q", "k", "v", "o", "gate", "up", "down"}
    assert not set(held.parameters) & set(adapted.model.parameters)
    assert count_parameters(adapted.config) == count_parameters(adapted.model.config)
    assert adapted.model.config.adapters is None


def copy(name: str, directory: Path) -> Path:
    """An adapter that a test may change."""
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(ADAPTERS / name / file, directory)
    return directory


def configured(**changes: Any) -> Callable[[Path], None]:
    """Changes of its configuration."""

    def change(directory: Path) -> None:
        path = directory / "adapter_config.json"
        said = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in said.items() if value != "gone"}))

    return change


def renamed(old: str, new: str) -> Callable[[Path], None]:
    """Another name in place of that of each tensor, as far as it is that."""

    def change(directory: Path) -> None:
        path = directory / "adapter_model.safetensors"
        tensors = load_file(path)
        save_file({name.replace(old, new): tensor for name, tensor in tensors.items()}, path)

    return change


def only(part: str, of: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> Callable[[Path], None]:
    """Only the tensors with that in their names, changed."""

    def change(directory: Path) -> None:
        path = directory / "adapter_model.safetensors"
        kept = {name: of(tensor) for name, tensor in load_file(path).items() if part in name}
        save_file(kept, path)

    return change


def pickled(directory: Path) -> None:
    """Its tensors in the older form."""
    (directory / "adapter_model.safetensors").rename(directory / "adapter_model.bin")


REFUSED = {
    "another method": (configured(peft_type="LOHA"), "peft_type: 'LOHA', which is not supported"),
    "DoRA": (configured(use_dora=True), "use_dora: True, which is not supported"),
    "biases": (configured(bias="lora_only"), "bias: 'lora_only', which is not supported"),
    "biases of B": (configured(lora_bias=True), "lora_bias: True"),
    "whole modules": (configured(modules_to_save=["lm_head"]), r"modules_to_save: \['lm_head'\]"),
    "tokens": (configured(trainable_token_indices=[1]), "trainable_token_indices"),
    "parameters": (configured(target_parameters=["mlp.x"]), "target_parameters"),
    "repeated layers": (configured(layer_replication=[[0, 2]]), "layer_replication"),
    "an invocation": (
        configured(alora_invocation_tokens=[3]),
        "supported: alora_invocation_tokens",
    ),
    "something new": (configured(use_novelty=1), "are not supported: use_novelty"),
    "singular values": (
        configured(init_lora_weights="pissa_niter_4"),
        "init_lora_weights: 'pissa_niter_4', which changes the model's own weights",
    ),
    "no rank": (configured(r="gone"), "lacks r"),
    "no alpha": (configured(lora_alpha="gone"), "lacks lora_alpha"),
    "a rank of nothing": (configured(r=0), "has r: 0; it must be above zero"),
    "another rank": (configured(r=3), r"lora_A.weight of shape \(4, \d+\), and with rank 3"),
    "a pattern of a rank": (configured(rank_pattern={"q_proj": "x"}), "has q_proj: 'x'"),
    "no pattern": (configured(rank_pattern={"q_(": 4}), r"'q_\(', which is no regular expression"),
    "too high a rank": (configured(r=512), "rank 512 in .*; at most 256 is served"),
    "the head": (
        renamed("model.layers.0.self_attn.q_proj", "lm_head"),
        "has the tensor base_model.model.lm_head.lora_A.weight, and adapters can only",
    ),
    "the embedding": (
        renamed("layers.0.self_attn.q_proj.lora_A.weight", "embed_tokens.lora_embedding_A"),
        r"only be matrices .* q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; give",
    ),
    "magnitudes": (
        renamed("layers.0.self_attn.q_proj.lora_A.weight", "layers.0.q.lora_magnitude_vector"),
        "has the tensor .*lora_magnitude_vector",
    ),
    "a layer too many": (renamed("layers.2.", "layers.3."), r"layers\.3\.mlp"),
    "half of it": (only("lora_A"), r"lacks base_model.*lora_B\.weight; give the whole adapter"),
    "nothing": (only("nothing"), "has no tensors, so that the adapter changes nothing"),
    "whole numbers": (only("", lambda x: x.astype(np.int32)), "weights can be BF16, F16, F32"),
    "bytes": (only("", lambda x: x.astype(np.uint8)), "as U8; give an adapter whose matrices are"),
    "pickles": (pickled, r"adapter_model\.bin is of pickles, which are not read"),
    "no directory": (shutil.rmtree, "is not a directory; give one as PEFT's save_pretrained"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    change(copy("all-linear", tmp_path))
    with pytest.raises(CheckpointError, match=message):
        open_model(
            FIXTURES / "models" / "llama-3.1", make_mesh(), "float32", adapters={"a": tmp_path}
        )


def test_an_adapter_of_another_model(tmp_path: Path) -> None:
    message = r"needs \(3, 32\)|needs \(32, 3\)|needs \(\d+, 3\); it was made for tiny/qwen-3"
    with pytest.raises(CheckpointError, match=message):
        open_model(
            FIXTURES / "models" / "llama-3.1",
            make_mesh(),
            "float32",
            adapters={"a": ADAPTERS / "some-layers"},
        )


def test_experts_are_not_adapted(tmp_path: Path) -> None:
    change = renamed("self_attn.q_proj", "mlp.experts.0.gate_proj")
    change(copy("beside-experts", tmp_path))
    with pytest.raises(CheckpointError, match=r"only be .* q_proj, k_proj, v_proj, o_proj; give"):
        open_model(
            FIXTURES / "models" / "gpt-oss", make_mesh(), "float32", adapters={"a": tmp_path}
        )


def test_half_precision_is_read(tmp_path: Path) -> None:
    only("", lambda x: x.astype(np.float16))(copy("patterns", tmp_path))
    model = FIXTURES / "models" / "llama-3.1"
    places = {"whole": ADAPTERS / "patterns", "half": tmp_path}
    loaded = open_model(model, make_mesh(), "float32", adapters=places).load()
    assert loaded.adapters is not None
    for name, value in loaded.adapters.parameters.items():
        whole, half = np.split(np.asarray(value), 2, -1 if name.endswith("a") else 0)
        assert not np.array_equal(whole, half)
        np.testing.assert_allclose(half, whole, atol=2e-3)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """Even where another row's token would be multiplied with them, zero times them is no zero."""
    copy("all-linear", tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = np.inf
    save_file(tensors, path)
    opened = open_model(
        FIXTURES / "models" / "llama-3.1", make_mesh(), "float32", adapters={"a": tmp_path}
    )
    with pytest.raises(CheckpointError, match=r"values in base_model.* that are not finite"):
        opened.load()


PASSING: dict[str, dict[str, Any]] = {
    "trained on": {"inference_mode": False, "lora_dropout": 0.5, "task_type": "CAUSAL_LM"},
    "chosen in any way": {
        "target_modules": "all-linear",
        "exclude_modules": ["lm_head"],
        "layers_to_transform": [1],
        "layers_pattern": "layers",
    },
    "begun in another way": {"init_lora_weights": "gaussian"},
    "begun by data": {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
    "of a transposed module": {"fan_in_fan_out": True},
    "of an older PEFT": {"peft_version": "gone", "lora_bias": "gone", "use_dora": "gone"},
}


@pytest.mark.parametrize("changes", PASSING.values(), ids=PASSING)
def test_what_changes_no_number(tmp_path: Path, changes: dict[str, Any]) -> None:
    configured(**changes)(copy("all-linear", tmp_path))
    unchanged = read_adapter_config(ADAPTERS / "all-linear" / "adapter_config.json")
    assert read_adapter_config(tmp_path / "adapter_config.json") == unchanged


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("tiny/llama-3.1", False),
        ("llama-3.1/", False),
        ("/elsewhere/LLAMA-3.1", False),
        ("tiny/llama-3.2", True),
        ("", False),
    ],
)
def test_another_base_that_fits_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, base: str, *, told: bool
) -> None:
    configured(base_model_name_or_path=base)(copy("all-linear", tmp_path))
    with caplog.at_level(logging.WARNING):
        open_model(
            FIXTURES / "models" / "llama-3.1", make_mesh(), "float32", adapters={"mine": tmp_path}
        )
    wanted = f"the adapter mine was made for the model {base}, and is served with "
    assert [each.startswith(wanted) for each in caplog.messages] == [True] * told


def test_a_decoder_without_adapters_is_lowered_as_before() -> None:
    """What is made of the decoder alone has no trace of those that could be held beside it."""
    model = FIXTURES / "models" / "llama-3.1"
    alone = open_model(model, make_mesh(), "float32").load()
    beside = open_model(model, make_mesh(), "float32", adapters={"a": ADAPTERS / "patterns"}).load()
    assert (alone.config, list(alone.parameters)) == (beside.config, list(beside.parameters))
    sizes = {"pages": 8, "page_size": 16, "rows": 2, "table_width": WIDTH}
    cache = jax.eval_shape(partial(empty_cache, alone.config, dtype=jnp.dtype("float32"), **sizes))
    inputs = StepInputs(*(jax.ShapeDtypeStruct((count, 2), jnp.int32) for count in (4, 3)))
    numbers = jax.ShapeDtypeStruct((2,), jnp.int32)

    def text(config: Any, parameters: Any, *more: Any) -> str:
        step = jax.jit(partial(forward, config), donate_argnums=1)
        return step.lower(parameters, cache, numbers, inputs, numbers, *more).as_text()

    plain = text(alone.config, alone.parameters)
    assert beside.adapters is not None
    held = replace(alone.config, adapters=beside.adapters.shape)
    both = alone.parameters | beside.adapters.parameters
    # A program that holds adapters and is told that no token has one is that of the decoder alone.
    assert text(held, both) == plain
    assert text(held, both, numbers) != plain
