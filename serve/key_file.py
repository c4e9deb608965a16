"""The API keys that a server accepts, from where its settings say they are."""

from pathlib import Path

from serve.config import ConfigError, ServeConfig


def read_api_keys(config: ServeConfig) -> frozenset[str]:
    """The accepted API keys: those of the file, and the one of the environment.

    Raises:
        ConfigError: the file cannot be read, or holds no key.
    """
    keys = {config.api_key} if config.api_key else set[str]()
    if config.api_key_file:
        try:
            lines = Path(config.api_key_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"api_key_file {config.api_key_file} cannot be read ({error}); "
                f"give a text file with one key a line"
            ) from error
        stripped = (line.strip() for line in lines)
        found = {line for line in stripped if line and not line.startswith("#")}
        if not found:
            raise ConfigError(
                f"api_key_file {config.api_key_file} holds no key; write one key a line"
            )
        keys |= found
    return frozenset(keys)
