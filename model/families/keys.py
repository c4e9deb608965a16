"""Reading a published `config.json` key by key, so that no key is overlooked.

Every key must be taken (it maps to something), required to have the one value we implement,
or listed as one that cannot change the numbers (`inert.py`). Of what remains, null and false
speak of a feature that is not there and pass with a line in the log; the rest is refused by
name.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

from model.config import CheckpointError
from model.families.inert import INERT, UNUSED
from model.quantized import KEYS, how_quantized, refusal

logger = logging.getLogger(__name__)

_MISSING = object()
# Positions and ids are 32-bit integers, and nothing else that a config counts comes near.
_MOST = 2**31


class ConfigKeys:
    """The keys of one config, ticked off as they are used.

    Args:
        config: the config, or an object in it.
        source: what to call it in messages.
    """

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._config = config
        self.source = source
        self._left = set(config) - INERT
        # Where it is in the config, and the keys of the whole config that pass unread.
        self._within = ""
        self._idle: list[str] = []

    def take(self, key: str, kind: type, default: Any = _MISSING) -> Any:
        """The value of `key`, of type `kind` (an int serves as a float).

        Raises:
            CheckpointError: the key is missing without a default, of another type, or no number
                to compute with.
        """
        self._left.discard(key)
        value = self._config.get(key, default)
        if value is None and default is not _MISSING:
            value = default
        if value is _MISSING:
            raise CheckpointError(f"{self.source} lacks {key}")
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return self._finite(key, value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CheckpointError(
                f"{self.source} has {key}: {value!r}; it must be of type {kind.__name__}"
            )
        if isinstance(value, int) and abs(value) >= _MOST:
            raise CheckpointError(f"{self.source} has {key}: {value}; it must be below {_MOST}")
        return value

    def _finite(self, key: str, value: int | float) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise CheckpointError(f"{self.source} has {key}: {value}; it must be a finite number")
        return number

    def positive(self, key: str, kind: type, default: Any = _MISSING) -> Any:
        """As `take`, for a number that must be above zero.

        Raises:
            CheckpointError: as `take`, or the number is not.
        """
        value = self.take(key, kind, default)
        if not value > 0:
            raise CheckpointError(f"{self.source} has {key}: {value!r}; it must be above zero")
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
                f"{self.source} has {key}: {value!r}, which is not supported; "
                f"supported: {', '.join(repr(choice) for choice in choices)}"
            )

    def __contains__(self, key: str) -> bool:
        """Whether `key` is there, null or not."""
        return key in self._config

    def has(self, key: str) -> bool:
        """Whether `key` is there and not null."""
        return self._config.get(key) is not None

    def ignore(self, *keys: str) -> None:
        """Keys that have no effect given the values required so far."""
        self._left.difference_update(keys)

    def nested(self, key: str) -> "ConfigKeys | None":
        """The keys of the object under `key`, or None when there is none.

        Raises:
            CheckpointError: it is no object.
        """
        value = self.take(key, dict, {})
        if not value:
            return None
        keys = ConfigKeys(value, f"{self.source} {key}")
        keys._within, keys._idle = f"{self._within}{key}.", self._idle
        return keys

    def finish(self) -> None:
        """Refuse what has not been used, and tell what passes unread.

        Raises:
            CheckpointError: keys are left over that could change the numbers.
        """
        idle = {key for key in self._left if key in UNUSED or _is_absent(self._config[key])}
        refused = self._left - idle
        for key in KEYS:
            if key in refused:
                how = how_quantized(self._config[key], key=key)
                raise CheckpointError(refusal(self.source, how))
        if refused:
            raise CheckpointError(
                f"{self.source} has keys that could change the numbers and are not supported: "
                f"{', '.join(sorted(refused))}"
            )
        self._idle += [self._within + key for key in sorted(idle)]
        if not self._within and self._idle:
            logger.info("%s has keys that change nothing: %s", self.source, ", ".join(self._idle))


def _is_absent(value: Any) -> bool:
    # Not by equality: zero is a number, and numbers change numbers.
    return value is None or value is False
