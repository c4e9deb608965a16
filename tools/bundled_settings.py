"""What decides the bundled model's weights: its shape, its data and its training."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from model.config import LayerConfig, ModelConfig
from model.rope import plain_rope
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from tools.bundled_data.batches import Batch, Maker, training_batch
from tools.bundled_data.conversations import conversation, long_conversation

ROPE_THETA = 10_000.0

AttentionKind = Literal["dense", "cudnn"]


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
            steps, over which it falls to nothing (Hägele et al. 2024).
        compute: number format of the activations; weights and optimizer are float32.
        attention: "dense" anywhere, "cudnn" on NVIDIA's GPUs in bfloat16.
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
    attention: AttentionKind = "dense"
    vocab_size: int = 1536
    embed_dim: int = 384
    num_layers: int = 5
    num_heads: int = 8
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
        tokens, length = self.rows * self.length, self.length
        make: Maker = conversation
        if step < self.first_steps:
            length, make = self.first_length, partial(conversation, exchanges=1)
        elif step % self.long_every == self.long_every - 1:
            length, make = self.long_length, long_conversation
        rows = max(1, tokens // length)
        seed = f"{self.seed}/{step}"
        return training_batch(tokenizer, seed, rows, length, self.context_length, make)


PRESETS = {
    "cpu": Settings(),
    "gpu": replace(
        Settings(),
        steps=11_500,
        rows=96,
        length=512,
        first_steps=1000,
        first_length=512,
        warmup=300,
        compute="bfloat16",
        attention="cudnn",
    ),
    "tune": replace(
        Settings(), steps=400, first_steps=0, learning_rate=5e-4, warmup=20, cooldown=0.6
    ),
}
"""By hardware: two cores in a night or two, or one large GPU in minutes; and a run that teaches
trained weights a little more, on two cores in half an hour."""
