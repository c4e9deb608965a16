"""Tiny random models."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from model.adapters import PROJECTIONS
from model.config import AdapterShape, LayerConfig, ModelConfig
from model.loading import LoadedAdapters, LoadedModel
from model.mesh import make_mesh, sharding
from model.parameters import (
    Parameters,
    abstract_parameters,
    adapter_specs,
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


def tiny_adapters(count: int, rank: int = 8, config: ModelConfig = TINY) -> LoadedAdapters:
    """Random adapters, each of which changes every projection by about as much as that does."""
    shape = AdapterShape(count, rank, PROJECTIONS)
    generator = np.random.default_rng(1)
    mesh = make_mesh()
    parameters: Parameters = {}
    for name, spec in adapter_specs(replace(config, adapters=shape)).items():
        size = rank if name.endswith(".b") else math.prod(spec.shape[:-1])
        values = generator.normal(0, size**-0.5, spec.shape).astype(np.float32)
        parameters[name] = jax.device_put(values, sharding(mesh, spec.axes))
    return LoadedAdapters(tuple(f"adapter-{n}" for n in range(count)), shape, parameters)


def merged(model: LoadedModel, number: int) -> LoadedModel:
    """The model without adapters, one of which is added to its weights."""
    assert model.adapters is not None
    assert not model.config.turned
    held, shape = model.adapters.parameters, model.adapters.shape
    parameters = dict(model.parameters)

    def added(block: int, projection: str) -> np.ndarray:
        a, b = (np.float64(held[f"blocks.{block}.adapters.{projection}.{each}"]) for each in "ab")
        own = slice(number * shape.rank, (number + 1) * shape.rank)
        return np.tensordot(a[..., own], b[own], 1)

    for block in range(model.config.num_layers):
        q, k, v = (added(block, each) for each in "qkv")
        of_products = {
            "attention.qkv": np.concatenate([q, k[:, :, None], v[:, :, None]], 2),
            "attention.out": added(block, "o"),
            "mlp.gate_up": np.stack([added(block, "gate"), added(block, "up")], 1),
            "mlp.down": added(block, "down"),
        }
        for product, more in of_products.items():
            name = f"blocks.{block}.{product}"
            whole = np.float32(np.float64(parameters[name]) + more)
            parameters[name] = jax.device_put(whole, parameters[name].sharding)
    return replace(model, parameters=parameters, adapters=None)


def inputs_first(model: LoadedModel) -> Parameters:
    """The parameters in one order, whichever the model holds them in."""
    specs = parameter_specs(model.config)
    back = -1 if model.config.turned else 0
    return {
        name: turn(value, back * specs[name].inputs) for name, value in model.parameters.items()
    }
