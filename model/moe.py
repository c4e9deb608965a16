"""A mixture of experts: every token goes through the few experts that its router chooses.

Dropless: tokens are sorted by expert and multiplied group by group, so that any routing is
computed in full, all tokens to one expert included.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from model.axes import EMBED, EXPERTS, FFN, GATE_UP
from model.config import Activation, ExpertsConfig, ModelConfig
from model.grouped import grouped_dot
from model.layers import constant, gated, parameter, with_bias


class Router(nnx.Module):
    """Which experts a token goes through, and with what weights."""

    def __init__(
        self, config: ModelConfig, experts: ExpertsConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        self.experts = experts
        shape = (config.embed_dim, experts.count)
        self.weight = parameter(rngs, shape, (EMBED, EXPERTS), dtype, config.embed_dim**-0.5)
        self.bias = constant((experts.count,), (EXPERTS,), dtype, 0.0) if experts.bias else None

    def __call__(self, x: Float[Array, "n D"]) -> tuple[Float[Array, "n c"], Int[Array, "n c"]]:
        """Each token's weights, float32, and experts: the likeliest ones of a softmax."""
        scores = with_bias(jnp.einsum("nd,de->ne", x, self.weight[...]), self.bias)
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
        self.gate_up = parameter(
            rngs,
            (count, embed, 2, ffn),
            (EXPERTS, EMBED, GATE_UP, FFN),
            dtype,
            embed**-0.5,
        )
        self.down = parameter(
            rngs,
            (count, ffn, embed),
            (EXPERTS, FFN, EMBED),
            dtype,
            (2 * config.num_layers * ffn) ** -0.5,
        )
        wide, narrow = (
            ((count, 2, ffn), (EXPERTS, GATE_UP, FFN)),
            ((count, embed), (EXPERTS, EMBED)),
        )
        self.gate_up_bias = constant(*wide, dtype, 0.0) if experts.bias else None
        self.down_bias = constant(*narrow, dtype, 0.0) if experts.bias else None

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Apply the layer."""
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.router(flat)
        # Pairs of token and expert, ordered by expert; pair i belongs to token order[i] // c.
        expert_of = chosen.reshape(-1)
        order = jnp.argsort(expert_of, stable=True)
        sizes = jnp.zeros(self.gate_up.shape[0], jnp.int32).at[expert_of].add(1)
        pairs = self._feed_forward(flat[order // chosen.shape[1]], sizes, expert_of[order])
        back = jnp.zeros_like(order).at[order].set(jnp.arange(order.size))
        per_token = pairs[back].reshape(*chosen.shape, -1).astype(jnp.float32)
        mixed = jnp.einsum("nc,ncd->nd", weights, per_token)
        return mixed.astype(x.dtype).reshape(x.shape)

    def _feed_forward(
        self, x: Float[Array, "m D"], sizes: Int[Array, " E"], expert_of: Int[Array, " m"]
    ) -> Float[Array, "m D"]:
        count, embed, _, ffn = self.gate_up.shape
        weight = self.gate_up[...].reshape(count, embed, 2 * ffn)
        both = grouped_dot(x, weight, sizes).reshape(-1, 2, ffn)
        if self.gate_up_bias is not None:
            both = both + self.gate_up_bias[...][expert_of]
        out = grouped_dot(gated(both, self.activation), self.down[...], sizes)
        return out if self.down_bias is None else out + self.down_bias[...][expert_of]
