import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from model.loading import load_model
from model.mesh import make_mesh
from tools import train_bundled
from tools.bundled_data.batches import empty_batch, place
from tools.bundled_data.chat_format import Document
from tools.bundled_data.conversations import ALL_SKILLS
from tools.bundled_export import export
from tools.bundled_settings import Settings
from tools.bundled_trainer import EVALUATION_LENGTH, Trainer, schedule
from tools.train_bundled import PRESETS, SettingsChangedError, train

TINY = Settings(
    steps=12,
    rows=2,
    first_steps=3,
    first_length=128,
    length=128,
    long_every=100,
    long_length=256,
    learning_rate=5e-2,
    warmup=1,
    vocab_size=800,
    embed_dim=16,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    ffn_dim=16,
)
EVERY_SKILL = ("facts", "copying")
CASES = 2


@pytest.fixture(scope="module", autouse=True)
def small_vocabulary_and_evaluation() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_bundled, "VOCABULARY_SAMPLE", 1000)
        patch.setattr(train_bundled, "ALL_SKILLS", EVERY_SKILL)
        patch.setattr(train_bundled, "LOG_EVERY", 1)
        yield


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every trainer compiles its own step, though it be the same as another's."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    reset_cache()


def run(out: Path, settings: Settings = TINY) -> Trainer:
    """A run of 12 steps that leaves checkpoints of its 7th step and of its end."""
    return train(settings, out, 12, save_every=7, evaluate_every=100, cases=CASES, workers=0)


class Finished(NamedTuple):
    out: Path
    trainer: Trainer


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, small_vocabulary_and_evaluation: None
) -> Finished:
    out = tmp_path_factory.mktemp("run")
    return Finished(out, run(out))


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
    monkeypatch.setattr(Trainer, "evaluate", lambda *_: None)
    out = shutil.copytree(finished.out, tmp_path / "run")
    shutil.rmtree(out / "checkpoints" / "12")
    resumed = run(out)
    for name, value in finished.trainer.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value, err_msg=name)
    steps = [line["step"] for line in log(out) if "loss" in line]
    assert steps == [*range(1, 13), *range(8, 13)]


def test_the_loss_falls(finished: Finished) -> None:
    values = [line["loss"] for line in log(finished.out) if "loss" in line]
    # A uniform guess among 800 tokens costs ln 800 = 6.68.
    assert 6.0 < values[0] < 8.0
    assert values[-1] < values[0] - 1.0


def test_other_settings_do_not_resume_a_run(finished: Finished) -> None:
    with pytest.raises(SettingsChangedError, match="learning_rate"):
        run(finished.out, replace(TINY, learning_rate=0.5))


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rate = schedule(replace(TINY, steps=100, warmup=10, cooldown=0.2, learning_rate=1.0))
    assert [float(rate(step)) for step in (0, 5, 10, 50, 80, 90, 100)] == pytest.approx(
        [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    )


def test_the_command_resumes_and_exports_the_trained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
    monkeypatch.setitem(PRESETS, "cpu", TINY)
    arguments = ["--out", str(finished.out), "--export", str(tmp_path)]
    result = CliRunner().invoke(train_bundled.main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output == ""
    loaded = load_model(tmp_path, make_mesh(), "float32")
    assert loaded.config == TINY.model
    for name, value in finished.trainer.parameters.items():
        np.testing.assert_array_equal(
            loaded.parameters[name], value.astype(jnp.bfloat16), err_msg=name
        )
    assert {path.name for path in tmp_path.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "tokenizer.model",
        "weights",
    }


def test_a_run_starts_from_a_checkpoints_weights_and_tokenizer(
    tmp_path: Path, finished: Finished
) -> None:
    tokenizer = finished.out / train_bundled.TOKENIZER
    export(TINY, finished.trainer.parameters, tokenizer, tmp_path / "model")
    made = {"save_every": 9, "evaluate_every": 9, "cases": CASES, "workers": 0}
    # At its first step the learning rate is 0.
    begun = train(TINY, tmp_path / "run", 1, start=tmp_path / "model", **made)
    assert (tmp_path / "run" / train_bundled.TOKENIZER).read_bytes() == tokenizer.read_bytes()
    for name, value in finished.trainer.parameters.items():
        np.testing.assert_array_equal(
            begun.parameters[name], value.astype(jnp.bfloat16), err_msg=name
        )


def test_packed_neighbours_do_not_see_each_other(finished: Finished) -> None:
    document = Document(list(range(20, 30)), [True] * 10, [0] * 10)
    neighbour = Document(list(range(40, 52)), [False] * 12, [0] * 12)
    # One row has the document alone, the other has it behind its neighbour.
    batch = empty_batch(CASES, EVALUATION_LENGTH, pad=4)
    place(batch, 0, 0, document, range(10), 1)
    place(batch, 1, 0, neighbour, range(12), 1)
    place(batch, 1, 11, document, range(10), 2)
    alone, packed = finished.trainer._score(finished.trainer.parameters, batch)[0]
    assert alone > 9
    np.testing.assert_allclose(packed, alone, rtol=1e-5)


def test_half_precision_computes_nearly_the_same(finished: Finished) -> None:
    settings = replace(TINY, compute="bfloat16")
    half = Trainer(settings, finished.trainer.tokenizer)
    half.parameters = finished.trainer.parameters
    wide, narrow = (
        trainer.evaluate(EVERY_SKILL, CASES)["loss"] for trainer in (finished.trainer, half)
    )
    assert narrow == pytest.approx(wide, rel=0.02)
    assert narrow != wide
    batch = settings.batch(finished.trainer.tokenizer, 0)
    updated, *_ = jax.eval_shape(half._update, half.parameters, half.state, batch)
    assert {value.dtype for value in updated.values()} == {jnp.dtype("float32")}


def test_evaluation_has_every_skill(finished: Finished) -> None:
    report = finished.trainer.evaluate(ALL_SKILLS[:3], CASES)
    assert list(report["accuracy"]) == list(ALL_SKILLS[:3])
    assert all(0 <= value <= 1 for value in report["accuracy"].values())
    assert report["loss"] > 3
    (logged,) = [line["held_out"] for line in log(finished.out) if "held_out" in line]
    assert list(logged["accuracy"]) == list(EVERY_SKILL)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_short_run_of_the_command_lowers_the_loss(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--until", "8", "--cases", "1", "--workers", "1"]
    result = CliRunner().invoke(train_bundled.main, arguments)
    assert result.exit_code == 0, result.output
    values = [line["loss"] for line in log(tmp_path) if "loss" in line]
    assert len(values) == 8
    assert np.mean(values[-3:]) < values[0] - 0.3
