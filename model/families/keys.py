"""Reading a published `config.json` key by key, so that no key is overlooked.

Every key must be taken (it maps to something), required to have the one value we implement,
or listed as one that cannot change the numbers. What remains is refused by name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from model.config import CheckpointError

# Keys that describe training, provenance or token ids (which generation_config.json and the
# tokenizer settle), never the forward pass.
INERT = frozenset(
    {
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "initializer_range",
        "model_type",
        "pad_token_id",
        "pretraining_tp",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)

_MISSING = object()


class ConfigKeys:
    """The keys of one config, ticked off as they are used."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._config = config
        self._source = source
        self._left = set(config) - INERT

    def take(self, key: str, kind: type, default: Any = _MISSING) -> Any:
        """The value of `key`, of type `kind` (an int serves as a float).

        Raises:
            CheckpointError: the key is missing without a default, or of another type.
        """
        self._left.discard(key)
        value = self._config.get(key, default)
        if value is None and default is not _MISSING:
            value = default
        if value is _MISSING:
            raise CheckpointError(f"{self._source} lacks {key}")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CheckpointError(
                f"{self._source} has {key}: {value!r}; it must be of type {kind.__name__}"
            )
        return value

    def require(self, key: str, allowed: Iterable[Any]) -> None:
        """Accept `key` only when absent or with a value that we implement.

        Raises:
            CheckpointError: it has another value.
        """
        self._left.discard(key)
        choices = list(allowed)
        value = self._config.get(key, choices[0])
        if value not in choices:
            raise CheckpointError(
                f"{self._source} has {key}: {value!r}, which is not supported; "
                f"supported: {', '.join(repr(choice) for choice in choices)}"
            )

    def ignore(self, *keys: str) -> None:
        """Keys that have no effect given the values required so far."""
        self._left.difference_update(keys)

    def rope_theta(self, default: float) -> float:
        """The rotary base, from `rope_theta` or the newer `rope_parameters`.

        Raises:
            CheckpointError: a rope type other than the plain one.
        """
        self.require("rope_scaling", [None])
        parameters = self._config.get("rope_parameters")
        self._left.discard("rope_parameters")
        if parameters is None:
            return float(self.take("rope_theta", float, default))
        nested = ConfigKeys(parameters, f"{self._source} rope_parameters")
        nested.require("rope_type", ["default"])
        theta = float(nested.take("rope_theta", float, default))
        nested.finish()
        return theta

    def finish(self) -> None:
        """Refuse whatever has not been used.

        Raises:
            CheckpointError: keys are left over.
        """
        if self._left:
            raise CheckpointError(
                f"{self._source} has keys that could change the numbers and are not supported: "
                f"{', '.join(sorted(self._left))}"
            )
