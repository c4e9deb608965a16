"""Train the bundled model from scratch on the conversations of `tools.bundled_data`.

`python -m tools.train_bundled` trains, resuming from the last checkpoint under `--out`, and
ends by writing a servable checkpoint directory to `--export`. On a terminal it shows a progress
bar; figures go to `OUT/log.jsonl`.
"""

import json
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import click
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from optax.contrib import MuonDimensionNumbers, muon
from tqdm import tqdm

from model import bundled
from model.attention import DenseAttention
from model.config import LayerConfig, ModelConfig
from model.parameters import Parameters, decoder_with, random_parameters
from model.rope import plain_rope
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from model.weights.orbax import save_weights
from tools.bundled_data.batches import Batch, evaluation_batch, training_batch
from tools.bundled_data.conversations import conversation
from tools.bundled_data.grammar import Split
from tools.bundled_data.skills import SKILLS
from tools.bundled_data.vocabulary import END_OF_TEXT, PAD, TURN_END, build_tokenizer

TEMPLATE = "chat_template.jinja"
LONG_EXCHANGES = 20
EVALUATION_SHAPE = (64, 256)
ROPE_THETA = 10_000.0
VOCABULARY_SAMPLE = 20_000


class SettingsChangedError(ValueError):
    """A run is resumed with settings other than those it was started with."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the trained weights.

    Attributes:
        seed: of the first weights, the vocabulary's sample and every batch.
        steps: optimizer steps of the whole run; the learning rate's schedule ends there.
        rows, length: B and T of a batch; every `long_every`-th has rows of `long_length`.
        first_steps: this many steps see conversations of one exchange only: with less to look
            at, copying is found sooner.
        learning_rate: its peak, after `warmup` steps; it then falls as a cosine to a twentieth.
        vocab_size, embed_dim, num_layers, num_heads, num_kv_heads, head_dim, ffn_dim,
            context_length: the model's shape.
    """

    seed: int = 0
    steps: int = 2400
    rows: int = 16
    length: int = 192
    first_steps: int = 500
    long_every: int = 20
    long_length: int = 1024
    learning_rate: float = 3e-3
    warmup: int = 100
    vocab_size: int = 1024
    embed_dim: int = 256
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 64
    ffn_dim: int = 704
    context_length: int = 2048

    @property
    def model(self) -> ModelConfig:
        """The decoder's shape."""
        return ModelConfig(
            vocab_size=self.vocab_size,
            embed_dim=self.embed_dim,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            ffn_dim=self.ffn_dim,
            context_length=self.context_length,
            layers=(LayerConfig(plain_rope(ROPE_THETA, self.head_dim)),) * self.num_layers,
            norm_eps=1e-6,
            qk_norm="head",
            tied_head=True,
        )


def losses(
    config: ModelConfig, parameters: Parameters, batch: Batch
) -> tuple[jax.Array, jax.Array]:
    """Per target: its cross-entropy, and whether it is the likeliest token; both [B, T]."""
    decoder = decoder_with(config, parameters)
    length = batch.tokens.shape[1]
    same = batch.segments[:, :, None] == batch.segments[:, None, :]
    causal = jnp.tril(jnp.ones((length, length), bool))
    hidden, _ = decoder(
        jnp.asarray(batch.tokens), jnp.asarray(batch.positions), DenseAttention(same & causal)
    )
    logits = decoder.logits(hidden)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
    return entropy, jnp.argmax(logits, axis=-1) == batch.targets


def schedule(settings: Settings) -> optax.Schedule:
    """The learning rate by step."""
    peak = settings.learning_rate
    return optax.warmup_cosine_decay_schedule(
        0.0, peak, settings.warmup, settings.steps, end_value=peak / 20
    )


def _matrix_axes(parameters: Mapping[str, Any]) -> dict[str, MuonDimensionNumbers | None]:
    axes = {
        "qkv": MuonDimensionNumbers(0, (1, 2, 3)),
        "out": MuonDimensionNumbers((0, 1, 2), 3),
        "gate_up": MuonDimensionNumbers(0, 2),
        "down": MuonDimensionNumbers(0, 1),
    }
    return {name: axes.get(name.rsplit(".", 1)[-1]) for name in parameters}


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """Muon for the matrices, AdamW for the embedding and the norms.

    Muon's updates are scaled to AdamW's usual size (Liu et al. 2025), so that one learning rate
    serves both.
    """
    rate = schedule(settings)
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        muon(
            rate,
            weight_decay=0.05,
            adam_b2=0.98,
            adam_weight_decay=0.0,
            muon_weight_dimension_numbers=cast("Any", _matrix_axes),
            consistent_rms=0.2,
        ),
    )


class Trainer:
    """Weights and optimizer state, and the compiled steps over them."""

    def __init__(self, settings: Settings, tokenizer: SentencePieceTokenizer) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        self.parameters = random_parameters(settings.model, jnp.dtype("float32"), settings.seed)
        self._optimizer = optimizer(settings)
        self.state = self._optimizer.init(self.parameters)
        self._step = jax.jit(self._update, donate_argnums=(0, 1))
        self._score = jax.jit(self._row_scores)

    def _update(
        self, parameters: Parameters, state: optax.OptState, batch: Batch
    ) -> tuple[Parameters, optax.OptState, jax.Array]:
        def mean_loss(wanted: Parameters) -> jax.Array:
            entropy, _ = losses(self.settings.model, wanted, batch)
            return jnp.sum(entropy * batch.weights) / jnp.maximum(jnp.sum(batch.weights), 1)

        loss, gradient = jax.value_and_grad(mean_loss)(parameters)
        updates, state = self._optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss  # pyright: ignore[reportReturnType]

    def _row_scores(self, parameters: Parameters, batch: Batch) -> tuple[jax.Array, jax.Array]:
        entropy, right = losses(self.settings.model, parameters, batch)
        return jnp.sum(entropy * batch.weights, -1), jnp.all(right | (batch.weights == 0), -1)

    def batch(self, step: int) -> Batch:
        """The batch of `step`, which is a function of the seed and the step."""
        settings = self.settings
        rows, length, exchanges = settings.rows, settings.length, None
        if step < settings.first_steps:
            exchanges = 1
        elif step % settings.long_every == settings.long_every - 1:
            rows = max(1, rows * length // settings.long_length)
            length, exchanges = settings.long_length, LONG_EXCHANGES
        seed = f"{settings.seed}/{step}"
        return training_batch(
            self.tokenizer, seed, rows, length, settings.context_length, exchanges
        )

    def train_step(self, step: int) -> jax.Array:
        """One optimizer step; returns the mean loss over the answers' tokens."""
        self.parameters, self.state, loss = self._step(
            self.parameters, self.state, self.batch(step)
        )
        return loss

    def evaluate(self, cases: int, split: Split = Split.HELD_OUT) -> dict[str, Any]:
        """Held-out loss per answer token, and per skill the share of answers that are right.

        An answer is right when greedy decoding yields it: when each of its tokens, the end of
        the turn included, is the likeliest after those before it.
        """
        rng = random.Random(f"{self.settings.seed}/evaluation")
        accuracy: dict[str, float] = {}
        total, tokens = 0.0, 0.0
        for skill in SKILLS:
            right: dict[int, bool] = {}
            done = 0
            while len(right) < cases:
                found = [conversation(rng, split, skill) for _ in range(EVALUATION_SHAPE[0])]
                batch, rows = evaluation_batch(self.tokenizer, found, *EVALUATION_SHAPE)
                entropy, exact = jax.device_get(self._score(self.parameters, batch))
                for case, hit in zip(rows, exact, strict=False):
                    right[done + case.number] = right.get(done + case.number, False) or bool(hit)
                done += len(found)
                total += float(np.sum(entropy))
                tokens += float(np.sum(batch.weights))
            accuracy[skill] = round(float(np.mean(list(right.values()))), 4)
        return {"loss": round(total / tokens, 5), "accuracy": accuracy}


def export(trainer: Trainer, tokenizer_path: Path, directory: Path) -> None:
    """Write a checkpoint directory that can be served: bfloat16 weights and all beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    config, controls = trainer.settings.model, trainer.tokenizer.controls
    ends = [controls[TURN_END], controls[END_OF_TEXT]]
    description = {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "eos_token_id": controls[TURN_END],
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.embed_dim,
        "intermediate_size": config.ffn_dim,
        "max_position_embeddings": config.context_length,
        "model_type": "qwen3",
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads,
        "pad_token_id": controls[PAD],
        "rms_norm_eps": config.norm_eps,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": config.tied_head,
        "torch_dtype": "bfloat16",
        "vocab_size": config.vocab_size,
    }
    generation = {"eos_token_id": ends, "pad_token_id": controls[PAD]}
    for name, content in (
        ("config.json", description),
        ("generation_config.json", generation),
    ):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")
    sources = (tokenizer_path, bundled.directory() / TEMPLATE)
    for source, target in zip(sources, ("tokenizer.model", TEMPLATE), strict=True):
        if source.resolve() != (directory / target).resolve():
            shutil.copyfile(source, directory / target)
    save_weights(directory, jax.tree.map(lambda x: x.astype(jnp.bfloat16), trainer.parameters))


def _claim(out: Path, settings: Settings) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "settings.json"
    mine = asdict(settings)
    if not path.exists():
        path.write_text(json.dumps(mine, indent=2) + "\n")
        return
    theirs = json.loads(path.read_text())
    changed = {name for name in mine | theirs if mine.get(name) != theirs.get(name)}
    if changed == {"steps"} and settings.steps > theirs["steps"]:
        path.write_text(json.dumps(mine, indent=2) + "\n")
    elif changed:
        raise SettingsChangedError(
            f"{path} belongs to a run with other {', '.join(sorted(changed))}; give the same "
            "settings (or more steps) to resume it, or another --out to start afresh"
        )


def train(
    settings: Settings, out: Path, until: int, save_every: int, evaluate_every: int, cases: int
) -> Trainer:
    """Train up to step `until`, resuming the run in `out` if there is one.

    Raises:
        SettingsChangedError: the run in `out` has other settings. More steps are none: the
            learning rate then rises to where the longer schedule has it.
    """
    _claim(out, settings)
    tokenizer_path = out / "tokenizer.model"
    if not tokenizer_path.exists():
        build_tokenizer(tokenizer_path, settings.vocab_size, VOCABULARY_SAMPLE, settings.seed)
    trainer = Trainer(settings, SentencePieceTokenizer(tokenizer_path))
    options = ocp.CheckpointManagerOptions(max_to_keep=2)
    with (
        ocp.CheckpointManager((out / "checkpoints").absolute(), options=options) as manager,
        (out / "log.jsonl").open("a", buffering=1) as log,
    ):
        first = manager.latest_step() or 0
        if first:
            target = {"parameters": trainer.parameters, "state": trainer.state}
            restored = manager.restore(first, args=ocp.args.StandardRestore(target))  # pyright: ignore[reportCallIssue]
            trainer.parameters, trainer.state = restored["parameters"], restored["state"]
        rate, began = schedule(settings), time.perf_counter()
        steps = tqdm(range(first, until), initial=first, total=until, unit="step", disable=None)
        for step in steps:
            loss = float(trainer.train_step(step))
            steps.set_postfix(loss=f"{loss:.3f}")
            done = step + 1
            seconds = time.perf_counter() - began
            speed = (done - first) * settings.rows * settings.length / seconds
            line = {"step": done, "loss": round(loss, 5), "tokens_per_second": round(speed)}
            log.write(json.dumps(line | {"learning_rate": float(np.asarray(rate(step)))}) + "\n")
            if done % evaluate_every == 0 or done == until:
                log.write(json.dumps({"step": done, "held_out": trainer.evaluate(cases)}) + "\n")
            if done % save_every == 0 or done == until:
                state = {"parameters": trainer.parameters, "state": trainer.state}
                manager.save(done, args=ocp.args.StandardSave(state))  # pyright: ignore[reportCallIssue]
                manager.wait_until_finished()
    return trainer


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/bundled"))
@click.option("--export", "target", type=click.Path(path_type=Path), help="Write the model here.")
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=Settings().steps, show_default=True)
@click.option("--learning-rate", default=Settings().learning_rate, show_default=True)
@click.option("--until", type=int, help="Stop early at this step; --steps sets the schedule.")
@click.option("--save-every", default=100, show_default=True)
@click.option("--evaluate-every", default=500, show_default=True)
@click.option("--cases", default=40, show_default=True, help="Evaluation cases per skill.")
def main(
    out: Path,
    target: Path | None,
    seed: int,
    steps: int,
    learning_rate: float,
    until: int | None,
    save_every: int,
    evaluate_every: int,
    cases: int,
) -> None:
    """Train the bundled model from scratch, resuming from --out."""
    settings = Settings(seed=seed, steps=steps, learning_rate=learning_rate)
    trainer = train(settings, out, until or steps, save_every, evaluate_every, cases)
    if target is not None:
        export(trainer, out / "tokenizer.model", target)


if __name__ == "__main__":
    main()
