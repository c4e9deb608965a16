"""The decoder's configuration, resolved once at start-up.

Owns the numbers that decide shapes and arithmetic. How a published `config.json` maps onto
them is `families/`' business.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast


class CheckpointError(ValueError):
    """A checkpoint that cannot be served; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A decoder's shape.

    Attributes:
        vocab_size: V, rows of the embedding.
        embed_dim: D.
        num_layers: decoder blocks.
        num_heads: N, query heads.
        num_kv_heads: K; divides N.
        head_dim: H; even, independent of D / N.
        ffn_dim: F, width of the gated feed-forward layer.
        context_length: most tokens the model was made for.
        rope_theta: base of the rotary frequencies.
        norm_eps: added to the mean square in RMSNorm.
        qk_norm: RMSNorm over H of queries and keys before the rotation.
        tied_head: logits use the embedding's transpose.
    """

    vocab_size: int
    embed_dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_dim: int
    context_length: int
    rope_theta: float
    norm_eps: float
    qk_norm: bool
    tied_head: bool

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "embed_dim",
            "num_layers",
            "num_heads",
            "num_kv_heads",
            "head_dim",
            "ffn_dim",
            "context_length",
        ):
            if getattr(self, name) < 1:
                raise CheckpointError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.num_heads % self.num_kv_heads:
            raise CheckpointError(
                f"{self.num_heads} query heads cannot be shared by {self.num_kv_heads} kv heads; "
                "the number of kv heads must divide the number of query heads"
            )
        if self.head_dim % 2:
            raise CheckpointError(f"head_dim is {self.head_dim}; rotary embedding needs it even")

    @property
    def group_size(self) -> int:
        """G, query heads per kv head."""
        return self.num_heads // self.num_kv_heads

    @property
    def num_parameters(self) -> int:
        """Parameters in the decoder, the embedding counted once when tied."""
        attention = self.embed_dim * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        norms = 2 * self.embed_dim + (2 * self.head_dim if self.qk_norm else 0)
        layer = attention + norms + 3 * self.embed_dim * self.ffn_dim
        embeddings = self.vocab_size * self.embed_dim * (1 if self.tied_head else 2)
        return self.num_layers * layer + embeddings + self.embed_dim

    def cache_bytes_per_token(self, bytes_per_value: int) -> int:
        """Bytes that one token's keys and values take over all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * bytes_per_value


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint's file.

    Raises:
        CheckpointError: the file is missing, unreadable or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); give the directory of a checkpoint"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return cast("dict[str, Any]", value)
