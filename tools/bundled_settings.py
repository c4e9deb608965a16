"""What decides the bundled model's weights: its shape, its data and its training."""

from dataclasses import dataclass, replace
from typing import Literal

from model.config import LayerConfig, ModelConfig
from model.rope import plain_rope
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from tools.bundled_data.batches import Batch, training_batch

ROPE_THETA = 10_000.0
LONG_EXCHANGES = 12


@dataclass(frozen=True, slots=True)
class Settings:
    """The defaults are the model's own shape, and a training that two cores do in a night.

    Attributes:
        seed: of the first weights, the vocabulary's sample and every batch.
        steps: optimizer steps of the whole run; the learning rate's schedule ends there.
        rows, length: B and T of a batch; every `long_every`-th has rows of `long_length`.
        first_steps: this many steps see conversations of one exchange only, in rows of
            `first_length`: with less to look at, copying is found sooner.
        learning_rate: reached after `warmup` steps, and kept until the last `cooldown` of the
            steps, over which it falls to nothing: as long as it is kept, a run may still
            become longer or shorter (Hägele et al. 2024).
        compute: number format of the activations; weights and optimizer are float32.
        vocab_size, embed_dim, num_layers, num_heads, num_kv_heads, head_dim, ffn_dim,
            context_length: the model's shape.
    """

    seed: int = 0
    steps: int = 14_000
    rows: int = 12
    length: int = 384
    first_steps: int = 2000
    first_length: int = 256
    long_every: int = 25
    long_length: int = 2048
    learning_rate: float = 3e-3
    warmup: int = 100
    cooldown: float = 0.3
    compute: Literal["float32", "bfloat16"] = "float32"
    vocab_size: int = 1536
    embed_dim: int = 384
    num_layers: int = 4
    num_heads: int = 6
    num_kv_heads: int = 2
    head_dim: int = 64
    ffn_dim: int = 1024
    context_length: int = 2048

    @property
    def cooldown_start(self) -> int:
        """The step after which the learning rate falls."""
        return round(self.steps * (1 - self.cooldown))

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

    def batch(self, tokenizer: SentencePieceTokenizer, step: int) -> Batch:
        """The batch of `step`, which is a function of the seed and the step."""
        tokens, exchanges = self.rows * self.length, None
        length = self.length
        if step < self.first_steps:
            length, exchanges = self.first_length, 1
        elif step % self.long_every == self.long_every - 1:
            length, exchanges = self.long_length, LONG_EXCHANGES
        rows = max(1, tokens // length)
        seed = f"{self.seed}/{step}"
        return training_batch(tokenizer, seed, rows, length, self.context_length, exchanges)


PRESETS = {
    "cpu": Settings(),
    "gpu": replace(
        Settings(),
        steps=24_000,
        rows=96,
        length=512,
        first_steps=1000,
        warmup=300,
        compute="bfloat16",
    ),
}
"""By hardware: two cores in a night, or one GPU in half an hour."""
