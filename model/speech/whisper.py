"""Whisper (Radford et al. 2022), in reading order: frames to moments, and a text token by token."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from model.axes import EMBED, POSITIONS, VOCAB
from model.layers import looked_up, parameter, product
from model.speech.config import SpeechConfig
from model.speech.layers import Convolution, DecoderBlock, EncoderBlock, norm
from model.vision.layers import run_block

# Keys and values of each layer of the decoder: of what is heard, or of the text so far.
Cache = tuple[jax.Array, ...]


class Encoder(nnx.Module):
    """Mel frames → moments, half as many."""

    def __init__(self, config: SpeechConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        embed = config.embed_dim
        sizes = (embed, config.encoder_heads, config.encoder_ffn)
        self.first = Convolution(config.mels, embed, 1, dtype, rngs=rngs)
        self.second = Convolution(embed, embed, 2, dtype, rngs=rngs)
        table = (config.moments, embed)
        self.positions = parameter(rngs, table, (POSITIONS, EMBED), dtype, embed**-0.5)
        self.blocks = nnx.List(
            [EncoderBlock(*sizes, dtype, rngs=rngs) for _ in range(config.encoder_layers)]
        )
        self.norm = norm(embed, dtype)

    def __call__(self, frames: Float[Array, "B frames mels"]) -> Float[Array, "B S D"]:
        """The moments."""
        positions = self.positions[...]
        with jax.named_scope("convolutions"):
            x = self.second(self.first(frames.astype(positions.dtype))) + positions
        for index, block in enumerate(self.blocks):
            with jax.named_scope(f"layer_{index}"):
                x = run_block(*nnx.split(block), x)
        return self.norm(x)


class Decoder(nnx.Module):
    """A text's tokens → the scores of the next."""

    def __init__(self, config: SpeechConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        embed = config.embed_dim
        sizes = (embed, config.decoder_heads, config.decoder_ffn)
        words, places = (config.vocab_size, embed), (config.positions, embed)
        self.tokens = parameter(rngs, words, (VOCAB, EMBED), dtype, embed**-0.5)
        self.positions = parameter(rngs, places, (POSITIONS, EMBED), dtype, embed**-0.5)
        self.blocks = nnx.List(
            [DecoderBlock(*sizes, dtype, rngs=rngs) for _ in range(config.decoder_layers)]
        )
        self.norm = norm(embed, dtype)

    def heard(self, moments: Float[Array, "B S D"]) -> Cache:
        """What a text attends to of the moments."""
        return tuple(block.cross.heard(moments) for block in self.blocks)

    def step(
        self, token: Int[Array, " B"], position: Int[Array, ""], cache: Cache, heard: Cache
    ) -> tuple[Float[Array, "B V"], Cache]:
        """The scores after each row's token at `position`, float32; and the cache with it."""
        words = self.tokens[...]
        x = looked_up(words, token[:, None]) + self.positions[...][position]
        kept: list[jax.Array] = []
        for index, block in enumerate(self.blocks):
            with jax.named_scope(f"layer_{index}"):
                x, held = block(x, position, cache[index], heard[index])
            kept.append(held)
        scores = product("btd,vd->btv", self.norm(x), words, jnp.dtype("float32"))
        return scores[:, 0], tuple(kept)


class Whisper(nnx.Module):
    """Encoder and decoder."""

    def __init__(self, config: SpeechConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        self.encoder = Encoder(config, dtype, rngs=rngs)
        self.decoder = Decoder(config, dtype, rngs=rngs)
