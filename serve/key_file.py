"""The API keys that a server accepts, from where its settings say they are."""

from pathlib import Path

from serve.config import ConfigError, ServeConfig


def read_api_keys(config: ServeConfig) -> frozenset[str]:
    """The accepted API keys: those of the file, and the one of the environment.

    Raises:
        ConfigError: the file cannot be read, or holds no key.
    """
    keys = frozenset({config.api_key} if config.api_key else ())
    return keys | _keys_in("api_key_file", config.api_key_file) if config.api_key_file else keys


def read_priority_keys(config: ServeConfig) -> frozenset[str]:
    """Those of them that may have the tier `priority`; none where all may.

    Raises:
        ConfigError: the file cannot be read, holds no key, or one that is not accepted.
    """
    if not config.priority_keys:
        return frozenset()
    keys = _keys_in("priority_keys", config.priority_keys)
    if strangers := len(keys - read_api_keys(config)):
        raise ConfigError(
            f"priority_keys {config.priority_keys} holds {strangers} of {len(keys)} keys that are "
            f"not accepted; write them into api_key_file too"
        )
    return keys


def _keys_in(name: str, file: str) -> frozenset[str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{name} {file} cannot be read ({error}); give a text file with one key a line"
        ) from error
    stripped = (line.strip() for line in lines)
    keys = frozenset(line for line in stripped if line and not line.startswith("#"))
    if not keys:
        raise ConfigError(f"{name} {file} holds no key; write one key a line")
    return keys
