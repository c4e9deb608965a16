"""Reading a published `config.json` key by key, so that no key is overlooked.

Every key must be taken (it maps to something), required to have the one value we implement,
or listed as one that cannot change the numbers. What remains is refused by name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from model.config import CheckpointError

# Keys that describe training, provenance, token ids (which generation_config.json and the
# tokenizer settle) or what a library should return, never the forward pass.
INERT = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "auto_map",
        "bos_token_id",
        "cache_implementation",
        "chunk_size_feed_forward",
        "dtype",
        "embd_pdrop",
        "eos_token_id",
        "id2label",
        "initial_context_length",
        "initializer_range",
        "is_encoder_decoder",
        "label2id",
        "model_type",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "pad_token_id",
        "pretraining_tp",
        "problem_type",
        "resid_pdrop",
        "return_dict",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "tokenizer_class",
        "torch_dtype",
        "transformers_version",
        "unsloth_fixed",
        "unsloth_version",
        "use_cache",
    }
)

_MISSING = object()


class ConfigKeys:
    """The keys of one config, ticked off as they are used."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._config = config
        self.source = source
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
            raise CheckpointError(f"{self.source} lacks {key}")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CheckpointError(
                f"{self.source} has {key}: {value!r}; it must be of type {kind.__name__}"
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
                f"{self.source} has {key}: {value!r}, which is not supported; "
                f"supported: {', '.join(repr(choice) for choice in choices)}"
            )

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
        return ConfigKeys(value, f"{self.source} {key}") if value else None

    def finish(self) -> None:
        """Refuse whatever has not been used.

        Raises:
            CheckpointError: keys are left over.
        """
        if self._left:
            raise CheckpointError(
                f"{self.source} has keys that could change the numbers and are not supported: "
                f"{', '.join(sorted(self._left))}"
            )
