"""What models of text and images have in common: a decoder's config within theirs, and its names.

The decoder is one of a family of text, under `text_config`. Its tensors have a prefix, in the
older layout one for `model.` and all else, in the newer one within `model.`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from model.config import CheckpointError
from model.families.keys import ConfigKeys
from model.families.stored import Stored


def text_config(keys: ConfigKeys, defaults: Mapping[str, Any], *, tied: bool) -> dict[str, Any]:
    """The decoder's own config.

    Args:
        keys: of the whole config.
        defaults: values that the reference implementation gives to keys that are not there.
        tied: `tie_word_embeddings` where neither config says it.

    Raises:
        CheckpointError: there is none, or the two configs contradict each other.
    """
    keys.require("pruned_heads", [{}, None])
    inner: dict[str, Any] = keys.take("text_config", dict)
    head = inner.get("tie_word_embeddings")
    whole = keys.take("tie_word_embeddings", bool, tied if head is None else head)
    if head is not None and head != whole:
        raise CheckpointError(
            f"{keys.source} has tie_word_embeddings: {whole} and in its text_config {head!r}; "
            "they must be the same"
        )
    return {**defaults, **inner, "tie_word_embeddings": whole}


def vision_keys(keys: ConfigKeys) -> ConfigKeys:
    """The keys of the tower's own config.

    Raises:
        CheckpointError: there is none.
    """
    vision = keys.nested("vision_config")
    if vision is None:
        raise CheckpointError(f"{keys.source} lacks vision_config")
    vision.require("pruned_heads", [{}, None])
    vision.require("hidden_act", ["gelu_pytorch_tanh"])
    return vision


def within(weights: Mapping[str, Stored]) -> dict[str, Stored]:
    """Where a decoder's parameters are within the larger model, in either layout."""
    return {
        name: Stored(
            tuple(_newer(tensor) for tensor in stored.tensors),
            stored.build,
            Stored(tuple(f"language_model.{tensor}" for tensor in stored.tensors), stored.build),
        )
        for name, stored in weights.items()
    }


def _newer(tensor: str) -> str:
    bare = tensor.removeprefix("model.")
    return tensor if bare == tensor else f"model.language_model.{bare}"


def under_any(prefixes: Sequence[str], weights: Mapping[str, Stored]) -> dict[str, Stored]:
    """Where parameters are that have one of these prefixes, the first that there is."""

    def placed(stored: Stored) -> Stored:
        *others, last = (stored.under(prefix) for prefix in prefixes)
        for other in reversed(others):
            last = other._replace(otherwise=last)
        return last

    return {name: placed(stored) for name, stored in weights.items()}
