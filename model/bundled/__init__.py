"""The model that comes with the package: where its checkpoint directory is."""

from pathlib import Path


def directory() -> Path:
    """The checkpoint: config, generation config, tokenizer, chat template and weights."""
    return Path(__file__).parent
