"""The bundled model's weights and optimizer, and the compiled steps over them.

Knows nothing of files: `tools.train_bundled` keeps checkpoints and logs.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, muon

from model.attention import Attend, DenseAttention
from model.config import ModelConfig
from model.kernels.packed_gpu import PackedAttention
from model.parameters import Arrays, decoder_with, random_arrays
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from tools.bundled_data.batches import Batch, evaluation_batch
from tools.bundled_settings import AttentionKind, Settings

EVALUATION_LENGTH = 512


def _attention(batch: Batch, kind: AttentionKind) -> Attend:
    """Causal attention within the documents of a batch."""
    if kind == "cudnn":
        return PackedAttention(jnp.asarray(batch.segments))
    length = batch.tokens.shape[1]
    same = batch.segments[:, :, None] == batch.segments[:, None, :]
    return DenseAttention(same & jnp.tril(jnp.ones((length, length), bool)))


def losses(
    config: ModelConfig, parameters: Arrays, batch: Batch, attention: AttentionKind = "dense"
) -> tuple[jax.Array, jax.Array]:
    """Per target: its cross-entropy, and whether it is the likeliest token; both [B, T]."""
    decoder = decoder_with(config, parameters)
    hidden, _ = decoder(
        jnp.asarray(batch.tokens), jnp.asarray(batch.positions), _attention(batch, attention)
    )
    logits = decoder.logits(hidden)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
    return entropy, jnp.argmax(logits, axis=-1) == batch.targets


def schedule(settings: Settings) -> optax.Schedule:
    """The learning rate by step."""
    peak, start = settings.learning_rate, settings.cooldown_start
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, peak, settings.warmup),
            optax.constant_schedule(peak),
            optax.linear_schedule(peak, 0.0, settings.steps - start),
        ],
        [settings.warmup, start],
    )


def _matrix_axes(parameters: Mapping[str, Any]) -> dict[str, MuonDimensionNumbers | None]:
    def of(name: str, value: Any) -> MuonDimensionNumbers | None:
        match name.rsplit(".", 1)[-1]:
            case "qkv":
                return MuonDimensionNumbers(0, (1, 2, 3))
            case "out":
                return MuonDimensionNumbers(tuple(range(value.ndim - 1)), value.ndim - 1)
            case "gate_up":
                return MuonDimensionNumbers(0, 2)
            case "up" | "down":
                return MuonDimensionNumbers(0, 1)
            case _:
                return None

    return {name: of(name, value) for name, value in parameters.items()}


def optimizer(rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon for the matrices, AdamW for the embedding and the norms.

    Muon's updates are scaled to AdamW's usual size (Liu et al. 2025), so that one learning rate
    serves both.
    """
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
        self.parameters = random_arrays(settings.model, jnp.dtype("float32"), settings.seed)
        self._optimizer = optimizer(schedule(settings))
        self.state = self._optimizer.init(self.parameters)
        self._step = jax.jit(self._update, donate_argnums=(0, 1))
        self._score = jax.jit(self._row_scores)

    def _losses(self, parameters: Arrays, batch: Batch) -> tuple[jax.Array, jax.Array]:
        settings, computed = self.settings, jnp.dtype(self.settings.compute)
        wanted = jax.tree.map(lambda x: x.astype(computed), parameters)
        return losses(settings.model, wanted, batch, settings.attention)

    def _update(
        self, parameters: Arrays, state: optax.OptState, batch: Batch
    ) -> tuple[Arrays, optax.OptState, jax.Array]:
        def mean_loss(wanted: Arrays) -> jax.Array:
            entropy, _ = self._losses(wanted, batch)
            return jnp.sum(entropy * batch.weights) / jnp.maximum(jnp.sum(batch.weights), 1)

        loss, gradient = jax.value_and_grad(mean_loss)(parameters)
        updates, state = self._optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss  # pyright: ignore[reportReturnType]

    def _row_scores(self, parameters: Arrays, batch: Batch) -> tuple[jax.Array, jax.Array]:
        entropy, right = self._losses(parameters, batch)
        return jnp.sum(entropy * batch.weights, -1), jnp.all(right | (batch.weights == 0), -1)

    def step(self, batch: Batch) -> jax.Array:
        """One optimizer step; returns the mean loss over the answers' tokens."""
        self.parameters, self.state, loss = self._step(self.parameters, self.state, batch)
        return loss

    def evaluate(self, skills: Sequence[str], cases: int) -> dict[str, Any]:
        """Held-out loss per answer token, and per skill the share of answers that are exact.

        An answer is exact when greedy decoding yields it: when each of its tokens, the end of
        the turn included, is the likeliest after those before it. A right answer in other words
        counts as wrong; `tools.eval_bundled` judges what a server really answers.
        """
        accuracy: dict[str, float] = {}
        total, tokens = 0.0, 0.0
        for skill in skills:
            rng = random.Random(f"{self.settings.seed}/evaluation/{skill}")
            batch = evaluation_batch(self.tokenizer, rng, skill, cases, EVALUATION_LENGTH)
            entropy, exact = jax.device_get(self._score(self.parameters, batch))
            total += float(np.sum(entropy))
            tokens += float(np.sum(batch.weights))
            accuracy[skill] = round(float(np.mean(exact)), 4)
        return {"loss": round(total / tokens, 5), "accuracy": accuracy}
