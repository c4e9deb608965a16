"""A mixture of experts: every token goes through the few experts that its router chooses.

Dropless: tokens are sorted by expert and multiplied group by group, so that any routing is
computed in full, all tokens to one expert included. Over several devices each holds some of
the experts and computes what goes through them; the parts of a token's mixture are summed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from model.axes import EMBED, EXPERT_FFN, EXPERTS, GATE_UP, ROUTES, ROWS, TOKENS
from model.config import Activation, ExpertsConfig, ModelConfig
from model.grouped import grouped_dot
from model.layers import constant, gated, parameter, with_bias
from model.mesh import RULES, partition, shards
from model.small import Weight


class Router(nnx.Module):
    """Which experts a token goes through, and with what weights."""

    def __init__(
        self, config: ModelConfig, experts: ExpertsConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        self.experts = experts
        shape = (config.embed_dim, experts.count)
        self.weight = parameter(rngs, shape, (EMBED, ROUTES), dtype, config.embed_dim**-0.5)
        self.bias = constant((experts.count,), (ROUTES,), dtype, 0.0) if experts.bias else None

    def __call__(
        self, x: Float[Array, "*batch D"]
    ) -> tuple[Float[Array, "*batch c"], Int[Array, "*batch c"]]:
        """Each token's weights, float32, and experts: the likeliest ones of a softmax."""
        scores = with_bias(jnp.einsum("...d,de->...e", x, self.weight[...]), self.bias)
        # Chosen by score: far below the best, shares are all zero.
        best, chosen = jax.lax.top_k(scores.astype(jnp.float32), self.experts.chosen)
        if self.experts.renormalize:
            return jax.nn.softmax(best, axis=-1), chosen
        whole = jax.nn.logsumexp(scores.astype(jnp.float32), axis=-1, keepdims=True)
        return jnp.exp(best - whole), chosen


class Experts(nnx.Module):
    """The experts' feed-forward layers behind their router."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        experts = config.experts
        if experts is None:
            raise ValueError("a layer of experts in a config without any")
        count, embed, ffn = experts.count, config.embed_dim, experts.ffn_dim
        self.activation: Activation = config.activation
        self.router = Router(config, experts, dtype, rngs=rngs)
        # Gate and up on one axis: as two axes of [.., 2, F] a TPU pads or rearranges them.
        self.gate_up = parameter(
            rngs,
            (count, embed, 2 * ffn),
            (EXPERTS, EMBED, EXPERT_FFN),
            dtype,
            embed**-0.5,
            sums=(1,),
        )
        self.down = parameter(
            rngs,
            (count, ffn, embed),
            (EXPERTS, EXPERT_FFN, EMBED),
            dtype,
            (2 * config.num_layers * ffn) ** -0.5,
            sums=(1,),
        )
        wide, narrow = (
            ((count, 2, ffn), (EXPERTS, GATE_UP, EXPERT_FFN)),
            ((count, embed), (EXPERTS, EMBED)),
        )
        self.gate_up_bias = constant(*wide, dtype, 0.0) if experts.bias else None
        self.down_bias = constant(*narrow, dtype, 0.0) if experts.bias else None

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Apply the layer."""
        weights, chosen = self.router(x)
        held = Held(
            self.gate_up[...],
            self.down[...],
            None if self.gate_up_bias is None else self.gate_up_bias[...],
            None if self.down_bias is None else self.down_bias[...],
        )
        if shards(EXPERTS) == 1:
            return mixture(held, 0, x, weights, chosen, self.activation).astype(x.dtype)
        by_rows = partition(x.shape, (ROWS, TOKENS, EMBED))
        by_expert = PartitionSpec(RULES[EXPERTS])

        def part(held: Held, x: jax.Array, weights: jax.Array, chosen: jax.Array) -> jax.Array:
            first = jax.lax.axis_index(RULES[EXPERTS]) * held.down.shape[0]
            mixed = mixture(held, first, x, weights, chosen, self.activation)
            return jax.lax.psum(mixed, RULES[EXPERTS]).astype(x.dtype)

        return jax.shard_map(
            part,
            in_specs=(by_expert, by_rows, by_rows, by_rows),
            out_specs=by_rows,
            check_vma=False,
        )(held, x, weights, chosen)


class Held(NamedTuple):
    """The weights of experts that follow one another: all of them, or one device's.

    Attributes:
        gate_up, down: one matrix per expert, [E, D, 2F] and [E, F, D]; the gate's columns come
            before up's.
        gate_up_bias, down_bias: None where the experts have none.
    """

    gate_up: Weight
    down: Weight
    gate_up_bias: Float[Array, "E two F"] | None
    down_bias: Float[Array, "E D"] | None


def mixture(
    held: Held,
    first: int | Int[Array, ""],
    x: Float[Array, "B T D"],
    weights: Float[Array, "B T c"],
    chosen: Int[Array, "B T c"],
    activation: Activation,
) -> Float[Array, "B T D"]:
    """What the experts `first` and following add to each token, float32."""
    count = held.down.shape[0]
    flat, choices = x.reshape(-1, x.shape[-1]), chosen.shape[-1]
    # Pairs of token and expert, ordered by expert, those of experts elsewhere at the end; pair i
    # belongs to token order[i] // c.
    expert_of = chosen.reshape(-1) - first
    expert_of = jnp.where((expert_of >= 0) & (expert_of < count), expert_of, count)
    order = jnp.argsort(expert_of, stable=True)
    sizes = jnp.sum(expert_of[:, None] == jnp.arange(count), axis=0, dtype=jnp.int32)
    pairs = _feed_forward(held, flat[order // choices], sizes, expert_of[order], activation)
    # What lies past the groups is whatever the products left there.
    pairs = jnp.where((jnp.arange(order.size) < sizes.sum())[:, None], pairs, 0)
    back = jnp.zeros_like(order).at[order].set(jnp.arange(order.size))
    per_token = pairs[back].reshape(*chosen.shape, -1).astype(jnp.float32)
    return jnp.einsum("btc,btcd->btd", weights, per_token)


def _feed_forward(
    held: Held,
    x: Float[Array, "m D"],
    sizes: Int[Array, " E"],
    expert_of: Int[Array, " m"],
    activation: Activation,
) -> Float[Array, "m D"]:
    both = grouped_dot(x, held.gate_up, sizes).reshape(len(x), 2, -1)
    if held.gate_up_bias is not None:
        both = both + held.gate_up_bias.at[expert_of].get(mode="clip")
    out = grouped_dot(gated(both, activation), held.down, sizes)
    if held.down_bias is None:
        return out
    return out + held.down_bias.at[expert_of].get(mode="clip")
