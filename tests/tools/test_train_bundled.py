import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

from model.loading import load_model
from model.mesh import make_mesh
from tools import train_bundled
from tools.bundled_data.batches import empty_batch, place
from tools.bundled_data.chat_format import Document
from tools.bundled_data.conversations import ALL_SKILLS
from tools.bundled_export import export
from tools.bundled_settings import Settings
from tools.bundled_trainer import Trainer, losses, schedule
from tools.train_bundled import PRESETS, SettingsChangedError, StartError, train

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


@pytest.fixture(scope="module", autouse=True)
def small_vocabulary_and_evaluation() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_bundled, "VOCABULARY_SAMPLE", 1000)
        patch.setattr(train_bundled, "ALL_SKILLS", EVERY_SKILL)
        patch.setattr(train_bundled, "LOG_EVERY", 1)
        yield


def run(out: Path, until: int, settings: Settings = TINY) -> Trainer:
    return train(settings, out, until, save_every=4, evaluate_every=100, cases=2, workers=0)


class Finished(NamedTuple):
    out: Path
    trainer: Trainer


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, small_vocabulary_and_evaluation: None
) -> Finished:
    out = tmp_path_factory.mktemp("run")
    return Finished(out, run(out, 12))


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, finished: Finished
) -> None:
    run(tmp_path, 7)
    resumed = run(tmp_path, 12)
    for name, value in finished.trainer.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value, err_msg=name)
    steps = [line["step"] for line in log(tmp_path) if "loss" in line]
    assert steps == list(range(1, 13))


def test_the_loss_falls(finished: Finished) -> None:
    values = [line["loss"] for line in log(finished.out) if "loss" in line]
    # A uniform guess among 800 tokens costs ln 800 = 6.68.
    assert 6.0 < values[0] < 8.0
    assert values[-1] < values[0] - 1.0


def test_a_run_ends_when_its_time_is_over(tmp_path: Path, finished: Finished) -> None:
    few = {"save_every": 4, "evaluate_every": 100, "cases": 2, "workers": 0}
    train(TINY, tmp_path, 12, minutes=0, **few)
    assert [line["step"] for line in log(tmp_path) if "loss" in line] == [1]
    resumed = train(TINY, tmp_path, 12, minutes=60, **few)
    for name, value in finished.trainer.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value, err_msg=name)


def test_other_settings_do_not_resume_a_run(finished: Finished) -> None:
    with pytest.raises(SettingsChangedError, match="learning_rate"):
        run(finished.out, 12, replace(TINY, learning_rate=0.5))


def test_a_runs_length_may_change_until_the_learning_rate_falls(
    tmp_path: Path, finished: Finished
) -> None:
    run(tmp_path, 4, replace(TINY, steps=20))
    run(tmp_path, 6, replace(TINY, steps=10))
    resumed = run(tmp_path, 12)
    for name, value in finished.trainer.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value, err_msg=name)
    with pytest.raises(SettingsChangedError, match=r"12 steps; .* up to step 8"):
        run(tmp_path, 20, replace(TINY, steps=20))


def test_a_run_starts_with_the_weights_of_another(tmp_path: Path, finished: Finished) -> None:
    further = replace(TINY, seed=1, learning_rate=1e-30)
    options = {"save_every": 4, "evaluate_every": 100, "cases": 2, "workers": 0}
    started = train(further, tmp_path, 2, start=finished.out, **options)
    for name, value in finished.trainer.parameters.items():
        np.testing.assert_array_equal(started.parameters[name], value, err_msg=name)
    resumed = train(further, tmp_path, 3, start=finished.out, **options)
    assert [line["step"] for line in log(tmp_path) if "loss" in line] == [1, 2, 3]
    # The optimizer and the learning rate begin anew, once.
    for trainer, steps in ((started, 2), (resumed, 3)):
        counts = [leaf for leaf in jax.tree.leaves(trainer.state) if leaf.dtype == jnp.int32]
        assert {int(count) for count in counts} == {steps}
    vocabulary = (finished.out / "tokenizer.model").read_bytes()
    assert (tmp_path / "tokenizer.model").read_bytes() == vocabulary


def test_a_run_does_not_start_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["--out", str(tmp_path / "run"), "--start", str(tmp_path / "empty")]
    result = CliRunner().invoke(train_bundled.main, arguments)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: --start: {tmp_path}/empty has no checkpoint; "
        "give another run's --out or an exported model\n"
    )


def test_a_run_starts_with_an_exported_model(tmp_path: Path, finished: Finished) -> None:
    tokenizer, exported = finished.out / "tokenizer.model", tmp_path / "model"
    export(TINY, finished.trainer.parameters, tokenizer, exported)
    further = replace(TINY, seed=1, learning_rate=1e-30)
    options = {"save_every": 4, "evaluate_every": 100, "cases": 2, "workers": 0}
    started = train(further, tmp_path / "run", 2, start=exported, **options)
    for name, value in finished.trainer.parameters.items():
        given = value.astype(jnp.bfloat16).astype(jnp.float32)
        np.testing.assert_array_equal(started.parameters[name], given, err_msg=name)
    assert (tmp_path / "run" / "tokenizer.model").read_bytes() == tokenizer.read_bytes()
    wider = replace(further, ffn_dim=32)
    with pytest.raises(StartError, match="another shape"):
        train(wider, tmp_path / "wider", 2, start=exported, **options)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rate = schedule(replace(TINY, steps=100, warmup=10, cooldown=0.2, learning_rate=1.0))
    assert [float(rate(step)) for step in (0, 5, 10, 50, 80, 90, 100)] == pytest.approx(
        [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    )


def test_the_export_loads_as_the_trained_weights(tmp_path: Path, finished: Finished) -> None:
    export(TINY, finished.trainer.parameters, finished.out / "tokenizer.model", tmp_path)
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


def test_packed_neighbours_do_not_see_each_other(finished: Finished) -> None:
    parameters = finished.trainer.parameters
    document = Document(list(range(20, 30)), [True] * 10, [0] * 10)
    alone, packed = empty_batch(1, 32, pad=4), empty_batch(1, 32, pad=4)
    place(alone, 0, 0, document, range(10), 1)
    place(packed, 0, 0, Document(list(range(40, 52)), [True] * 12, [0] * 12), range(12), 1)
    place(packed, 0, 11, document, range(10), 2)
    first, _ = losses(TINY.model, parameters, alone)
    second, _ = losses(TINY.model, parameters, packed)
    np.testing.assert_allclose(second[0, 11:20], first[0, :9], rtol=1e-5)


def test_half_precision_computes_nearly_the_same(finished: Finished) -> None:
    settings = replace(TINY, compute="bfloat16")
    half = Trainer(settings, finished.trainer.tokenizer)
    half.parameters = finished.trainer.parameters
    wide, narrow = (
        trainer.evaluate(EVERY_SKILL, 4)["loss"] for trainer in (finished.trainer, half)
    )
    assert narrow == pytest.approx(wide, rel=0.02)
    assert narrow != wide
    batch = settings.batch(finished.trainer.tokenizer, 0)
    half.parameters = {name: jnp.array(value) for name, value in half.parameters.items()}
    half.step(batch)
    assert {value.dtype for value in half.parameters.values()} == {jnp.dtype("float32")}


def test_evaluation_has_every_skill(finished: Finished) -> None:
    report = finished.trainer.evaluate(ALL_SKILLS[:3], cases=2)
    assert list(report["accuracy"]) == list(ALL_SKILLS[:3])
    assert all(0 <= value <= 1 for value in report["accuracy"].values())
    assert report["loss"] > 3
    (logged,) = [line["held_out"] for line in log(finished.out) if "held_out" in line]
    assert list(logged["accuracy"]) == list(EVERY_SKILL)


def test_the_command_resumes_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
    monkeypatch.setitem(PRESETS, "cpu", TINY)
    target = tmp_path / "model"
    arguments = ["--out", str(finished.out), "--until", "12", "--export", str(target)]
    result = CliRunner().invoke(train_bundled.main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output == ""
    assert load_model(target, make_mesh()).config.embed_dim == 16


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_short_run_of_the_command_lowers_the_loss(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--until", "20", "--cases", "1", "--workers", "1"]
    result = CliRunner().invoke(train_bundled.main, arguments)
    assert result.exit_code == 0, result.output
    values = [line["loss"] for line in log(tmp_path) if "loss" in line]
    assert len(values) == 20
    assert np.mean(values[-3:]) < values[0] - 1.5
