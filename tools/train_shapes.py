"""Train the small model that sees from scratch on the pictures and conversations of `tools.shapes`.

`python -m tools.train_shapes` trains decoder and tower together, resuming from the last
checkpoint under `--out`, and ends by writing a directory in the layout of published checkpoints
to `--export`. On a terminal it shows a progress bar; the last line is JSON: of held-out questions
of each kind, the share whose answer is the likeliest.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from model.attention import DenseAttention
from model.config import ModelConfig
from model.decoder import Sight
from model.parameters import Arrays, decoder_with, random_arrays
from model.vision.config import Qwen3VLVisionConfig
from model.vision.inputs import TowerInputs
from model.vision.parameters import random_tower_parameters
from model.vision.tower import look
from tools.bundled_data.stream import batches
from tools.bundled_settings import Settings
from tools.bundled_trainer import optimizer, schedule
from tools.shapes.batches import Batch, Reader
from tools.shapes.checkpoint import shapes_of, write_texts, write_weights
from tools.shapes.conversations import Conversation, conversation, exchange
from tools.shapes.pictures import scene
from tools.train_bundled import Checkpoints

# Flat, with a prefix for each part.
DECODER, TOWER = "decoder.", "tower."
# Conversations of a batch by their number of pictures, and how many exchanges they have.
ROWS = {0: (1, 3), 1: (25, 3), 2: (6, 2)}
PICTURES = sum(pictures * rows for pictures, (rows, _) in ROWS.items())
_TEXTS = 4000
_HELD_OUT_BATCHES = 12


@dataclass(frozen=True, slots=True)
class Shape:
    """Of the model: its decoder's and its tower's."""

    text: ModelConfig
    vision: Qwen3VLVisionConfig


def items(rng: random.Random, *, trained: bool = True) -> list[Conversation]:
    """A batch's conversations."""
    return [
        conversation(rng, pictures, exchanges, trained=trained)
        for pictures, (rows, exchanges) in ROWS.items()
        for _ in range(rows)
    ]


def part(parameters: Arrays, prefix: str) -> Arrays:
    """The weights of one part, by their names in it."""
    return {
        name.removeprefix(prefix): value
        for name, value in parameters.items()
        if name.startswith(prefix)
    }


def training_batch(seed: int, reader: Reader, step: int) -> Batch:
    """The batch of a step."""
    return reader.batch(items(random.Random(f"{seed}/{step}")), PICTURES)


def logits(shape: Shape, parameters: Arrays, batch: Batch) -> jax.Array:
    """[B, T, V] of a batch, its pictures looked at one by one."""
    seen = jax.vmap(partial(look, shape.vision, part(parameters, TOWER)))(
        TowerInputs(jnp.asarray(batch.patches), jnp.asarray(batch.places))
    )
    each = jnp.concatenate([seen.vectors[:, None], seen.deepstack], axis=1)
    flat = jnp.moveaxis(each, 1, 0).reshape(each.shape[1], -1, each.shape[-1])
    is_image = jnp.asarray(batch.seen) >= 0
    sight = Sight(is_image, jnp.where(is_image[..., None], flat[:, batch.seen], 0))
    decoder = decoder_with(shape.text, part(parameters, DECODER))
    length = batch.tokens.shape[1]
    causal = jnp.tril(jnp.ones((1, length, length), bool))
    hidden, _ = decoder(
        jnp.asarray(batch.tokens),
        jnp.asarray(batch.positions),
        DenseAttention(causal),
        sight=sight,
    )
    return decoder.logits(hidden)


def loss(shape: Shape, parameters: Arrays, batch: Batch) -> jax.Array:
    """Mean cross-entropy of the answers' tokens."""
    entropy = optax.softmax_cross_entropy_with_integer_labels(
        logits(shape, parameters, batch), batch.targets
    )
    answered = batch.answers > 0
    return jnp.sum(jnp.where(answered, entropy, 0)) / jnp.sum(answered)


class Trainer:
    """Weights and optimizer state, and the compiled steps over them."""

    def __init__(self, shape: Shape, settings: Settings) -> None:
        wide = jnp.dtype("float32")
        decoder = random_arrays(shape.text, wide, settings.seed)
        tower = random_tower_parameters(shape.vision, wide, settings.seed)
        self.parameters: Arrays = {
            **{DECODER + name: value for name, value in decoder.items()},
            **{TOWER + name: value for name, value in tower.items()},
        }
        self._optimizer = optimizer(schedule(settings))
        self.state = self._optimizer.init(self.parameters)
        self._loss = partial(loss, shape)
        self._step = jax.jit(self._update, donate_argnums=(0, 1))
        self._best = jax.jit(lambda *given: jnp.argmax(logits(shape, *given), axis=-1))

    def _update(
        self, parameters: Arrays, state: optax.OptState, batch: Batch
    ) -> tuple[Arrays, optax.OptState, jax.Array]:
        loss, gradient = jax.value_and_grad(self._loss)(parameters, batch)
        updates, state = self._optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss  # pyright: ignore[reportReturnType]

    def step(self, batch: Batch) -> jax.Array:
        """One optimizer step; returns the mean loss over the answers' tokens."""
        self.parameters, self.state, loss = self._step(self.parameters, self.state, batch)
        return loss

    def right(self, batch: Batch) -> np.ndarray:
        """[B, answers]: whether greedy decoding gives each answer, which is so when each of its
        tokens is the likeliest after those before it."""
        wrong = np.asarray(self._best(self.parameters, batch)) != batch.targets
        numbers = range(1, batch.answers.max() + 1)
        each = [~(wrong & (batch.answers == number)).any(axis=1) for number in numbers]
        return np.stack(each, axis=1)


def held_out(trainer: Trainer, reader: Reader, count: int) -> dict[str, float]:
    """The share of right answers by kind, and of all."""
    found: dict[str, list[bool]] = {}
    for number in range(count):
        asked = items(random.Random(f"held out/{number}"), trained=False)
        right = trainer.right(reader.batch(asked, PICTURES))
        for item, row in zip(asked, right, strict=True):
            for asked_one, good in zip(item.exchanges, row, strict=False):
                found.setdefault(asked_one.kind, []).append(bool(good))
    shares = {kind: round(float(np.mean(found[kind])), 4) for kind in sorted(found)}
    every = np.concatenate(list(found.values()))
    return {**shares, "all": round(float(np.mean(every)), 4)}


def texts(seed: int) -> Iterator[str]:
    """What the vocabulary is counted from."""
    rng = random.Random(f"{seed}/texts")
    for number in range(_TEXTS):
        asked = exchange(rng, [scene(rng, trained=True) for _ in range(number % 3)])
        yield f"user\n{asked.question}"
        yield f"assistant\n{asked.answer}"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/shapes"))
@click.option("--export", type=click.Path(path_type=Path), help="Write the model here.")
@click.option("--steps", default=2000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes that make batches.")
@click.option("--save-every", default=100, show_default=True, help="Steps.")
def main(
    out: Path, export: Path | None, steps: int, seed: int, workers: int, save_every: int
) -> None:
    """Train, resuming from --out."""
    settings = Settings(seed=seed, steps=steps, learning_rate=5e-3, warmup=30)
    write_texts(out, texts(seed))
    reader = Reader(out)
    trainer, checkpoints = Trainer(Shape(*shapes_of(out)), settings), Checkpoints(out)
    checkpoints.restore(trainer)
    first, losses = checkpoints.done, list[jax.Array]()
    made = batches(partial(training_batch, seed), out, first, steps, workers, Reader)
    bar = tqdm(made, initial=first, total=steps, unit="step", disable=None)
    for done, batch in enumerate(bar, first + 1):
        losses.append(trainer.step(batch))
        if done % save_every == 0 or done == steps:
            mean = float(np.mean(jax.device_get(losses)))
            losses.clear()
            tqdm.write(f"step {done}: loss {mean:.4f}, {held_out(trainer, reader, 1)}")
            checkpoints.save(trainer, done)
    checkpoints.close()
    if export is not None:
        write_texts(export, texts(seed))
        write_weights(export, part(trainer.parameters, DECODER), part(trainer.parameters, TOWER))
    click.echo(json.dumps({"held_out": held_out(trainer, reader, _HELD_OUT_BATCHES)}))


if __name__ == "__main__":
    main()
