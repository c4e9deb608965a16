"""Which architectures we have, by the name a `config.json` gives."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model.config import CheckpointError, ModelConfig, read_json
from model.families.llama import llama_config
from model.families.qwen import qwen3_config

CONFIG_READERS: Mapping[str, Callable[[Mapping[str, Any], str], ModelConfig]] = {
    "LlamaForCausalLM": llama_config,
    "Qwen3ForCausalLM": qwen3_config,
}


def read_config(directory: Path) -> ModelConfig:
    """The decoder's shape from a checkpoint directory's `config.json`.

    Raises:
        CheckpointError: no such file, or an architecture or setting that we don't have.
    """
    path = directory / "config.json"
    config = read_json(path)
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or names[0] not in CONFIG_READERS:
        raise CheckpointError(
            f"{path} names the architecture {names!r}; supported: {', '.join(CONFIG_READERS)}"
        )
    return CONFIG_READERS[names[0]](config, str(path))
