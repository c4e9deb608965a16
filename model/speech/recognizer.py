"""A speech model that is loaded, and its programs: one for each number of windows in a call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from model.mesh import replicated
from model.parameters import Arrays
from model.speech.config import SpeechConfig, SpeechTokens
from model.speech.mel import log_mel
from model.speech.parameters import whisper_with
from model.speech.whisper import Cache
from model.steps import compile_step
from model.tokenizer import Tokenizer


class Heard(NamedTuple):
    """What a window says.

    Attributes:
        text: without white space around it.
        language: its code; None of a model of one language, which has no names for it.
    """

    text: str
    language: str | None


class _Writing(NamedTuple):
    """The state between steps: `token` is the one at `position`, the last that is known."""

    position: Int[Array, ""]
    token: Int[Array, " B"]
    written: Int[Array, "B L"]
    ended: Bool[Array, " B"]
    cache: Cache


def write(
    config: SpeechConfig,
    end: int,
    parameters: Mapping[str, jax.Array],
    frames: Float[Array, "B frames mels"],
    prompt: Int[Array, "B P"],
    biases: Float[Array, "3 V"],
) -> Int[Array, "B L"]:
    """The likeliest tokens, one after another, of each window; a pure function of arrays.

    Args:
        config: the model's shape.
        end: the id that ends a text; it also stands after the end.
        parameters: the model's.
        frames: of each window.
        prompt: of each window; where it is -1, the likeliest token of those allowed. A row that
            begins with `end` is none.
        biases: added to the scores after the first token, at the end of the prompt, and later.

    Returns:
        Prompt and text.
    """
    model = whisper_with(config, parameters)
    heard = model.decoder.heard(model.encoder(frames))
    rows, begin = prompt.shape
    length = begin + config.most_tokens

    def unfinished(state: _Writing) -> jax.Array:
        return (state.position < length - 1) & ~jnp.all(state.ended)

    def step(state: _Writing) -> _Writing:
        position = state.position
        scores, cache = model.decoder.step(state.token, position, state.cache, heard)
        later = jnp.where(position < begin, 1, 2)
        bias = biases[jnp.where(position == 0, 0, jnp.where(position == begin - 1, 1, later))]
        best = jnp.where(state.ended, end, jnp.argmax(scores + bias, axis=-1))
        given = prompt[:, jnp.minimum(position + 1, begin - 1)]
        known = (position + 1 < begin) & (given >= 0)
        token = jnp.where(known, given, best).astype(jnp.int32)
        ended = state.ended | (token == end)
        written = jax.lax.dynamic_update_slice_in_dim(
            state.written, token[:, None], position + 1, axis=1
        )
        return _Writing(position + 1, token, written, ended, cache)

    # Each layer's as what is heard, but for its length.
    cache = tuple(jnp.zeros((rows, length, *each.shape[2:]), each.dtype) for each in heard)
    written = jnp.full((rows, length), end, jnp.int32).at[:, 0].set(prompt[:, 0])
    # A row that fills the call up.
    ended = prompt[:, 0] == end
    first = _Writing(jnp.zeros((), jnp.int32), prompt[:, 0], written, ended, cache)
    return jax.lax.while_loop(unfinished, step, first).written


@dataclass(frozen=True)
class LoadedSpeech:
    """A speech model ready to run.

    Attributes:
        config: its shape.
        tokens: its special ones.
        tokenizer: its own.
        parameters: its weights.
        mesh: the one device.
        dtype: of weights.
    """

    config: SpeechConfig
    tokens: SpeechTokens
    tokenizer: Tokenizer
    parameters: Arrays
    mesh: Mesh
    dtype: jnp.dtype
    _programs: dict[int, Any] = field(default_factory=dict[int, Any])

    def compile(self, rows: int) -> None:
        """Have the program for so many windows."""
        if rows in self._programs:
            return
        config, place = self.config, replicated(self.mesh)

        def like(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

        self._programs[rows] = compile_step(
            partial(write, config, self.tokens.end),
            self.mesh,
            (),
            place,
            {name: like(each.shape, each.dtype) for name, each in self.parameters.items()},
            like((rows, config.frames, config.mels), jnp.float32),
            like((rows, len(self.tokens.prompt(None))), jnp.int32),
            like(self.biases.shape, jnp.float32),
        )

    def __call__(
        self, windows: Sequence[tuple[np.ndarray, str | None]], rows: int | None = None
    ) -> list[Heard]:
        """What windows say; waits for the device.

        Args:
            windows: samples [N] of 16 kHz, no more than `config.window`, and the language: None
                to find it out.
            rows: of the program, at least as many; just as many if None.

        Raises:
            KeyError: the model does not know a language.
        """
        config, rows = self.config, rows or len(windows)
        self.compile(rows)
        frames = np.zeros((rows, config.frames, config.mels), np.float32)
        prompt = np.full((rows, len(self.tokens.prompt(None))), self.tokens.end, np.int32)
        for row, (samples, language) in enumerate(windows):
            frames[row] = log_mel(samples, config.window, config.mels)
            prompt[row] = self.tokens.prompt(language)
        written = self._programs[rows](self.parameters, frames, prompt, self.biases)
        return [self._heard(row) for row in np.asarray(written)[: len(windows)].tolist()]

    def _heard(self, row: list[int]) -> Heard:
        tokens = self.tokens
        begin = len(tokens.prompt(None))
        text = row[begin:]
        text = text[: text.index(tokens.end)] if tokens.end in text else text
        # Timestamps are no control tokens to tokenizers.
        parts = (self.tokenizer.token_bytes(each) for each in text if each < tokens.no_timestamps)
        joined = b"".join(part for part in parts if part is not None)
        return Heard(joined.decode(errors="replace").strip(), tokens.codes.get(row[1]))

    @cached_property
    def biases(self) -> jax.Array:
        """Of `write`: what is allowed where."""
        biases = np.zeros((3, self.config.vocab_size), np.float32)
        tokens = self.tokens
        biases[0] = -np.inf
        biases[0, list(tokens.codes)] = 0
        biases[1:, list(tokens.suppressed)] = -np.inf
        biases[1, list(tokens.suppressed_first)] = -np.inf
        return jax.device_put(biases, replicated(self.mesh))
