"""What holds where a request is silent: the API's defaults, or the served checkpoint's own.

Knows nothing of requests; what a checkpoint's file says is told by `model.generation_config`.
"""

import logging
from collections.abc import Mapping

from model.config import CheckpointError
from model.generation_config import (
    generation_config_of,
    read_generation_config,
    recommended_sampling,
)
from sampling.params import SamplingParams
from serve.api.settings import API_DEFAULTS
from serve.config import ConfigError, ServeConfig

logger = logging.getLogger(__name__)


def sampling_defaults(config: ServeConfig) -> Mapping[str, float]:
    """A value for each field of `API_DEFAULTS`, as `--sampling-defaults` says.

    Raises:
        ConfigError: the checkpoint's file cannot be read, or recommends what no request may ask
            for.
    """
    path = generation_config_of(config.model)
    try:
        found = recommended_sampling(read_generation_config(config.model))
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    if config.sampling_defaults == "api":
        if found:
            logger.info(
                "%s recommends %s: not applied, as --sampling-defaults model would",
                path,
                in_words(found),
            )
        return API_DEFAULTS
    for name, value in found.items():
        fault = _fault(name, value)
        if fault:
            raise ConfigError(
                f"{path} has {name}: {value!r}; {fault}; correct it, or start with "
                f"--sampling-defaults api"
            )
    return API_DEFAULTS | found


def in_words(settings: Mapping[str, object]) -> str:
    """Sampling settings on one line."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _fault(name: str, value: object) -> str:
    """What is wrong with a recommended value, if anything."""
    kind = type(API_DEFAULTS[name])
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return f"it must be {'a whole number' if whole else 'a number'}"
    try:
        SamplingParams(**{name: kind(value)})  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        return str(error).rpartition("; ")[2]
    return ""
