"""The shape of a speech model and its special tokens, resolved once at start-up.

How published files map onto them is `families/whisper.py`' business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from model.config import CheckpointError

# Samples of a second of the sound that models take, and from a mel frame to the next.
SAMPLE_RATE = 16_000
HOP = 160


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """Whisper's shape.

    Attributes:
        vocab_size: V.
        embed_dim: D, of encoder and decoder.
        encoder_layers: blocks of the encoder.
        encoder_heads: K of the encoder, each with keys of its own; divides D.
        encoder_ffn: F of the encoder.
        decoder_layers: blocks of the decoder.
        decoder_heads: K of the decoder; divides D.
        decoder_ffn: F of the decoder.
        mels: values of a frame.
        moments: vectors that a window of sound becomes; of two frames each.
        positions: most tokens of a text with its prompt.
    """

    vocab_size: int
    embed_dim: int
    encoder_layers: int
    encoder_heads: int
    encoder_ffn: int
    decoder_layers: int
    decoder_heads: int
    decoder_ffn: int
    mels: int
    moments: int
    positions: int

    def __post_init__(self) -> None:
        for heads in (self.encoder_heads, self.decoder_heads):
            if self.embed_dim % heads:
                raise CheckpointError(
                    f"{heads} heads do not divide the speech model's d_model of {self.embed_dim}"
                )

    @property
    def frames(self) -> int:
        """Mel frames of a window."""
        return 2 * self.moments

    @property
    def window(self) -> int:
        """Samples of a window."""
        return self.frames * HOP

    @property
    def most_tokens(self) -> int:
        """Tokens that are written of a window at most."""
        return self.positions // 2


@dataclass(frozen=True)
class SpeechTokens:
    """The ids that a text begins and ends with, and those that are not written.

    Attributes:
        start: before everything.
        end: after everything.
        no_timestamps: says that none are written; what comes after it are timestamps.
        transcribe: says that the text is in the language spoken; None where there is only one.
        languages: code, as `en`, → id; empty where there is only one.
        suppressed: never written.
        suppressed_first: not written as the first of a text.
    """

    start: int
    end: int
    no_timestamps: int
    transcribe: int | None
    languages: Mapping[str, int]
    suppressed: frozenset[int]
    suppressed_first: frozenset[int]

    @cached_property
    def codes(self) -> dict[int, str]:
        """Id → code of the languages."""
        return {token: code for code, token in self.languages.items()}

    def prompt(self, language: str | None) -> list[int]:
        """What stands before a text; -1 for a language that is to be found out.

        Raises:
            KeyError: the model does not know the language.
        """
        if self.transcribe is None:
            return [self.start, self.no_timestamps]
        spoken = -1 if language is None else self.languages[language]
        return [self.start, spoken, self.transcribe, self.no_timestamps]
