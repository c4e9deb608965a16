"""The speech model of a checkpoint directory.

config.json               shape
generation_config.json    special tokens, and those that are not written
preprocessor_config.json  how sound is prepared; if it is there, in the one way that there is
tokenizer.json            its tokenizer
*.safetensors             weights
"""

from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from model.config import CheckpointError, read_json
from model.families.whisper import (
    ARCHITECTURE,
    UNUSED,
    check_preparation,
    whisper_config,
    whisper_tokens,
    whisper_weights,
)
from model.foreign import check_directory
from model.generation_config import generation_config_of
from model.loading import resolve_dtype, tokenizer_of
from model.mesh import make_mesh, sharding
from model.parameters import Arrays
from model.speech.config import SpeechConfig
from model.speech.parameters import speech_specs
from model.speech.recognizer import LoadedSpeech
from model.weights.published import PublishedTensors
from model.weights.safetensors import SafetensorsStore


def read_speech(directory: Path) -> SpeechConfig:
    """The shape of a speech model.

    Raises:
        CheckpointError: the directory has none that we can run.
    """
    check_directory(directory)
    path = directory / "config.json"
    config = read_json(path)
    if config.get("architectures") != [ARCHITECTURE]:
        raise CheckpointError(
            f"{path} names the architecture {config.get('architectures')!r}; speech is recognized "
            f"by a Whisper model, {ARCHITECTURE}: give the directory of one, as openai/whisper-tiny"
        )
    return whisper_config(config, str(path))


def load_speech(directory: Path, dtype: str = "auto", device: Any = None) -> LoadedSpeech:
    """Load a speech model.

    Args:
        directory: the checkpoint.
        dtype: one of `loading.DTYPES`.
        device: where it runs; the first of this process if None.

    Raises:
        CheckpointError: the directory has none that we can run.
        TokenizerError: its tokenizer cannot be read.
    """
    config = read_speech(directory)
    path = directory / "preprocessor_config.json"
    if path.is_file():
        check_preparation(read_json(path), str(path), config)
    path = generation_config_of(directory)
    tokens = whisper_tokens(read_json(path), str(path), config)
    tokenizer = tokenizer_of(directory, config.vocab_size)
    specs = speech_specs(config)
    tensors = PublishedTensors(
        directory, SafetensorsStore(directory), whisper_weights(config), specs, UNUSED
    )
    mesh = make_mesh(devices=[device or jax.local_devices()[0]])
    held = resolve_dtype(dtype)
    parameters: Arrays = {
        name: tensors.made(name, spec.shape, held, mesh, sharding(mesh, spec.axes))
        for name, spec in tqdm(
            specs.items(), desc="loading speech", unit="tensor", leave=False, disable=None
        )
    }
    return LoadedSpeech(config, tokens, tokenizer, parameters, mesh, held)
