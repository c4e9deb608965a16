"""A speech model's parameters as a flat mapping, as the decoder's are (`model/parameters.py`)."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from model.parameters import OneKey, ParameterSpec, flat_state
from model.speech.config import SpeechConfig
from model.speech.whisper import Whisper


@cache
def _abstract(config: SpeechConfig) -> tuple[Any, Any]:
    return nnx.split(nnx.eval_shape(lambda: Whisper(config, jnp.dtype("float32"), rngs=OneKey(0))))


def speech_specs(config: SpeechConfig) -> dict[str, ParameterSpec]:
    """Every parameter of a speech model of this shape, without allocating any."""
    _, state = _abstract(config)
    return {
        name: ParameterSpec(tuple(leaf.shape), leaf.get_metadata()["axes"])
        for name, leaf in flat_state(state).items()
    }


def whisper_with(config: SpeechConfig, parameters: Mapping[str, jax.Array]) -> Whisper:
    """A model whose modules hold these arrays; cheap inside a trace."""
    graph, state = _abstract(config)
    filled = [
        (path, leaf.replace(parameters[".".join(map(str, path))]))
        for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))
