"""Tiny random models."""

import jax
import jax.numpy as jnp
import numpy as np

from model.config import LayerConfig, ModelConfig
from model.loading import LoadedModel
from model.mesh import make_mesh
from model.parameters import (
    Parameters,
    abstract_parameters,
    parameter_specs,
    random_parameters,
    turn,
)
from model.rope import plain_rope

ROPE_THETA = 10_000.0
TINY = ModelConfig(
    vocab_size=67,
    embed_dim=32,
    num_heads=6,
    num_kv_heads=2,
    head_dim=8,
    ffn_dim=48,
    context_length=512,
    layers=(LayerConfig(plain_rope(ROPE_THETA, 8)),) * 2,
    norm_eps=1e-6,
    qk_norm="head",
    tied_head=False,
)


def tiny_parameters(config: ModelConfig = TINY, seed: int = 0) -> Parameters:
    """Random weights with norms that are not all ones."""
    generator = np.random.default_rng(seed)
    mesh = make_mesh()
    parameters = random_parameters(config, jnp.dtype("float32"), seed)
    for name, value in parameters.items():
        if "norm" in name:
            parameters[name] = jnp.asarray(generator.uniform(0.5, 1.5, value.shape), jnp.float32)
    wanted = abstract_parameters(config, jnp.dtype("float32"), mesh)
    return {
        name: jax.device_put(value, wanted[name].sharding) for name, value in parameters.items()
    }


def tiny_model(config: ModelConfig = TINY, seed: int = 0) -> LoadedModel:
    """A loaded random model."""
    return LoadedModel(config, tiny_parameters(config, seed), make_mesh(), jnp.dtype("float32"))


def inputs_first(model: LoadedModel) -> Parameters:
    """The parameters in one order, whichever the model holds them in."""
    specs = parameter_specs(model.config)
    back = -1 if model.config.turned else 0
    return {
        name: turn(value, back * specs[name].inputs) for name, value in model.parameters.items()
    }
