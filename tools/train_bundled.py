"""Train the bundled model from scratch on the conversations of `tools.bundled_data`.

`python -m tools.train_bundled` trains, resuming from the last checkpoint under `--out`; with
`--export` it ends by writing a checkpoint directory that can be served. With `--start-from` the
run begins with the weights and the tokenizer of such a directory. On a terminal it shows a
progress bar; figures go to `OUT/log.jsonl`.
"""

import json
import shutil
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import click
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from tqdm import tqdm

from model.mesh import make_mesh
from model.parameters import Arrays
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from model.weights.orbax import OrbaxWeights
from tools.bundled_data.conversations import ALL_SKILLS
from tools.bundled_data.stream import batches
from tools.bundled_data.vocabulary import build_tokenizer
from tools.bundled_export import export
from tools.bundled_settings import PRESETS, Settings
from tools.bundled_trainer import Trainer, schedule

VOCABULARY_SAMPLE = 20_000
LOG_EVERY = 10
TOKENIZER = "tokenizer.model"


class SettingsChangedError(click.ClickException):
    """A run is resumed with settings other than those it was started with."""


def _claim(out: Path, settings: Settings) -> None:
    """Note the settings of a new run; compare them with what a run had that is resumed."""
    path = out / "settings.json"
    mine = asdict(settings)
    if path.exists():
        noted = json.loads(path.read_text())
        changed = {name for name in mine | noted if mine.get(name) != noted.get(name)}
        if changed:
            raise SettingsChangedError(
                f"{path} belongs to a run with other {', '.join(sorted(changed))}; give the same "
                "settings to resume it, or another --out to start afresh"
            )
    path.write_text(json.dumps(mine, indent=2) + "\n")


class Resumable(Protocol):
    """What a run goes on with."""

    parameters: Arrays
    state: Any


class Checkpoints:
    """A run's weights and optimizer states, the last two of them kept."""

    def __init__(self, out: Path) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=2)
        self._manager = ocp.CheckpointManager((out / "checkpoints").absolute(), options=options)

    @property
    def done(self) -> int:
        """The steps that were done when the last was saved."""
        return self._manager.latest_step() or 0

    def restore(self, trainer: Resumable) -> None:
        """Give the trainer what was saved last, if anything was."""
        if self.done:
            target = {"parameters": trainer.parameters, "state": trainer.state}
            restored = self._manager.restore(self.done, args=ocp.args.StandardRestore(target))  # pyright: ignore[reportCallIssue]
            trainer.parameters, trainer.state = restored["parameters"], restored["state"]

    def save(self, trainer: Resumable, done: int) -> None:
        """Keep the trainer's weights and state."""
        state = {"parameters": trainer.parameters, "state": trainer.state}
        self._manager.save(done, args=ocp.args.StandardSave(state))  # pyright: ignore[reportCallIssue]
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Free what the manager holds."""
        self._manager.close()


class Log:
    """One JSON object a line: `step` with the loss since the line before, or `held_out`."""

    def __init__(self, out: Path, settings: Settings) -> None:
        self._file = (out / "log.jsonl").open("a", buffering=1)
        self._rate = schedule(settings)
        self._waiting: list[jax.Array] = []
        self._tokens, self._began = 0, time.perf_counter()

    def step(self, done: int, loss: jax.Array, tokens: int, *, last: bool) -> float | None:
        """Note a step; returns the mean loss when it writes a line.

        Fetching a loss waits for the device, so it is done for several steps at once.
        """
        self._waiting.append(loss)
        self._tokens += tokens
        if done % LOG_EVERY and not last:
            return None
        mean = float(np.mean(jax.device_get(self._waiting)))
        self._waiting.clear()
        speed = self._tokens / (time.perf_counter() - self._began)
        self.write(
            step=done,
            loss=round(mean, 5),
            tokens_per_second=round(speed),
            learning_rate=float(np.asarray(self._rate(done - 1))),
        )
        return mean

    def write(self, **line: Any) -> None:
        """Write a line."""
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def train(
    settings: Settings,
    out: Path,
    until: int,
    *,
    save_every: int,
    evaluate_every: int,
    cases: int,
    workers: int,
    start: Path | None = None,
) -> Trainer:
    """Train up to step `until`, resuming the run in `out` if there is one.

    A new run has the weights and the tokenizer of the checkpoint `start`, if one is given.

    Raises:
        CheckpointError: `start` has no weights of the model's shape.
        SettingsChangedError: the run in `out` has other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(out)
    first = checkpoints.done
    _claim(out, settings)
    tokenizer = out / TOKENIZER
    if not tokenizer.exists() and start is not None:
        shutil.copyfile(start / TOKENIZER, tokenizer)
    elif not tokenizer.exists():
        build_tokenizer(tokenizer, settings.vocab_size, VOCABULARY_SAMPLE, settings.seed)
    trainer = Trainer(settings, SentencePieceTokenizer(tokenizer))
    if start is not None and not first:
        trainer.parameters = _weights_of(start, settings)
    checkpoints.restore(trainer)
    log = Log(out, settings)
    with closing(batches(settings.batch, tokenizer, first, until, workers)) as stream:
        bar = tqdm(stream, initial=first, total=until, unit="step", disable=None)
        for done, batch in enumerate(bar, first + 1):
            last = done == until
            mean = log.step(done, trainer.step(batch), batch.tokens.size, last=last)
            if mean is not None:
                bar.set_postfix(loss=f"{mean:.3f}")
            if done % evaluate_every == 0 or last:
                log.write(step=done, held_out=trainer.evaluate(ALL_SKILLS, cases))
            if done % save_every == 0 or last:
                checkpoints.save(trainer, done)
    log.close()
    checkpoints.close()
    return trainer


def _weights_of(directory: Path, settings: Settings) -> Arrays:
    stored, one = OrbaxWeights(directory, settings.model), make_mesh()
    return dict(stored.load(list(stored.sizes), jnp.dtype("float32"), one, settings.model))  # pyright: ignore[reportReturnType]


@click.command()
@click.option("--preset", type=click.Choice(list(PRESETS)), default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/bundled"))
@click.option("--export", "target", type=click.Path(path_type=Path), help="Write the model here.")
@click.option("--start-from", type=click.Path(path_type=Path), help="Begin with its weights.")
@click.option("--seed", default=0, show_default=True)
@click.option("--until", type=int, help="Stop early at this step.")
@click.option("--save-every", default=250, show_default=True)
@click.option("--evaluate-every", default=1000, show_default=True)
@click.option("--cases", default=64, show_default=True, help="Evaluation cases per skill.")
@click.option("--workers", default=1, show_default=True, help="Processes that make batches.")
def main(
    preset: str,
    out: Path,
    target: Path | None,
    start_from: Path | None,
    seed: int,
    until: int | None,
    save_every: int,
    evaluate_every: int,
    cases: int,
    workers: int,
) -> None:
    """Train the bundled model, resuming from --out."""
    settings = replace(PRESETS[preset], seed=seed)
    trainer = train(
        settings,
        out,
        until or settings.steps,
        save_every=save_every,
        evaluate_every=evaluate_every,
        cases=cases,
        workers=workers,
        start=start_from,
    )
    if target is not None:
        export(settings, trainer.parameters, out / TOKENIZER, target)


if __name__ == "__main__":
    main()
