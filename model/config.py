"""The decoder's configuration, resolved once at start-up.

Owns the numbers that decide shapes and arithmetic. How a published `config.json` maps onto
them is `families/`' business.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from model.unreadable import git_pointer, not_read


class CheckpointError(ValueError):
    """A checkpoint that cannot be served; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary position embedding: how fast each pair of components turns.

    Attributes:
        frequencies: radians per position of each rotated pair; twice their number is the
            rotated width, what lies beyond it in H is left alone.
        scale: factor of cosine and sine (YaRN's and LongRoPE's attention factor).
        axes: which axis of a position turns each pair: 0 for time, 1 for rows, 2 for columns of
            an image. Empty where positions have one axis; a text's have the same on all.
    """

    frequencies: tuple[float, ...]
    scale: float = 1.0
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """What differs from layer to layer.

    Attributes:
        rope: its rotary embedding.
        window: a query sees this many last positions, its own among them; None for all.
        experts: the feed-forward part is a mixture of experts.
    """

    rope: RopeConfig
    window: int | None = None
    experts: bool = False


@dataclass(frozen=True, slots=True)
class ExpertsConfig:
    """A mixture of experts in place of the feed-forward layer.

    Attributes:
        count: E.
        chosen: experts that each token goes through.
        ffn_dim: F of one expert.
        renormalize: the chosen experts' weights sum to one.
        bias: router and experts have biases.
    """

    count: int
    chosen: int
    ffn_dim: int
    renormalize: bool
    bias: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.chosen <= self.count:
            raise CheckpointError(
                f"{self.chosen} experts per token of {self.count}; it must be 1 to {self.count}"
            )


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """Low-rank adapters that are held beside a decoder's weights (`adapters.py`).

    Attributes:
        count: how many.
        rank: that all are filled up to.
        projections: those that some of them changes, of q, k, v, o, gate, up and down.
    """

    count: int
    rank: int
    projections: tuple[str, ...]

    @property
    def columns(self) -> int:
        """Columns of all A of a projection, side by side."""
        return self.count * self.rank


Activation = Literal["silu", "gelu_tanh", "clamped_swish"]
Norms = Literal["before", "after", "around"]
QKNorm = Literal["none", "head", "width"]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A decoder's shape.

    Attributes:
        vocab_size: V, rows of the embedding.
        embed_dim: D.
        num_heads: N, query heads.
        num_kv_heads: K; divides N.
        head_dim: H; even, independent of D / N.
        ffn_dim: F, width of the gated feed-forward layer.
        context_length: most tokens the model was made for.
        layers: one entry per decoder block.
        norm_eps: added to the mean square in RMSNorm.
        norm_offset: added to every norm's weight (Gemma stores weights less one).
        norms: where attention and feed-forward have their RMSNorm: on what they read, on what
            they add to the stream, or both.
        qk_norm: RMSNorm of queries and keys before the rotation: none, over each head's H, or
            over all heads at once.
        tied_head: logits use the embedding's transpose.
        activation: of the feed-forward's gate.
        qkv_bias, out_bias, mlp_bias: which projections have biases.
        embed_scale: factor of the embedded tokens.
        query_scale: factor of the attention scores; None for H^-1/2.
        attention_softcap: scores become cap · tanh(score / cap).
        logit_softcap: the same for logits.
        attention_sinks: each query head has a learned score that takes part in the softmax
            and adds nothing.
        experts: of the layers that say they have some.
        long_rope: replaces every layer's rotary embedding where more than `long_rope_after`
            tokens are served (LongRoPE has frequencies of its own for long contexts).
        long_rope_after: see `long_rope`.
        kv_copies: how often each kv head is held, so that every shard has some (`layout.py`).
        vocab_padding: rows of zeros after the embedding's own, so that its shards are equal.
        turned: matrices are held with their inputs' axes last (`memory_layout.py`).
        adapters: those that its modules hold too; None for the decoder alone.
        weight_form: how the layers' matrices are held (`small.py`); empty for the dtype of all
            else.
        weight_parts: that a divided axis has, so that each device's is whole groups of a form.
    """

    vocab_size: int
    embed_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_dim: int
    context_length: int
    layers: tuple[LayerConfig, ...]
    norm_eps: float
    norm_offset: float = 0.0
    norms: Norms = "before"
    qk_norm: QKNorm = "none"
    tied_head: bool = False
    activation: Activation = "silu"
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    embed_scale: float = 1.0
    query_scale: float | None = None
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    attention_sinks: bool = False
    experts: ExpertsConfig | None = None
    long_rope: RopeConfig | None = None
    long_rope_after: int = 0
    kv_copies: int = 1
    vocab_padding: int = 0
    turned: bool = False
    adapters: AdapterShape | None = None
    weight_form: str = ""
    weight_parts: int = 1

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

    def for_context(self, length: int) -> "ModelConfig":
        """The decoder to serve rows of at most `length` tokens with."""
        if self.long_rope is None or length <= self.long_rope_after:
            return self
        layers = tuple(replace(layer, rope=self.long_rope) for layer in self.layers)
        return replace(self, layers=layers)

    @property
    def num_layers(self) -> int:
        """Decoder blocks."""
        return len(self.layers)

    @property
    def group_size(self) -> int:
        """G, query heads per kv head that is held."""
        return self.num_heads // self.held_kv_heads

    @property
    def held_kv_heads(self) -> int:
        """K as parameters and pages have it, copies included."""
        return self.num_kv_heads * self.kv_copies

    @property
    def held_vocab(self) -> int:
        """V as the embedding has it, padding included."""
        return self.vocab_size + self.vocab_padding


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint's file.

    Raises:
        CheckpointError: the file is missing, unreadable or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(not_read(path, error)) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            git_pointer(path) or f"{path} is not valid JSON ({error}); download it again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object; download it again")
    return cast("dict[str, Any]", value)
