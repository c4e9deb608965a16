"""Log-probabilities of a prompt as JSON: the last member of a plain response.

Its form is vLLM's (`prompt_logprobs` of its chat completions). Knows nothing of how
log-probabilities are computed.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from model.tokenizer import Tokenizer
from serve.api.answering.logprobs import UNLIKELY
from serve.engine.types import PromptLogprobs

# Places whose entries are written in one go: with 21 tokens each that takes about a millisecond, in
# which no other answer is written.
_AT_ONCE = 32


class PromptWriter:
    """Writes entries; shared by all requests of a model."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tails = _Tails(tokenizer)

    async def ending(self, body: str, parts: Sequence[PromptLogprobs]) -> AsyncGenerator[bytes]:
        """A response's JSON, ended by what is told of its prompt.

        In pieces, for it may have a kilobyte and more for each of the prompt's tokens.

        Args:
            body: the response without.
            parts: of the prompt, in order; nothing of its first token.
        """
        yield f'{body.removesuffix("}")},"prompt_logprobs":[null'.encode()
        for part in parts:
            for start in range(0, len(part.tokens), _AT_ONCE):
                yield self._entries(part, slice(start, start + _AT_ONCE)).encode()
                # A client that takes all at once would not let others have their turn.
                await asyncio.sleep(0)
        yield b"]}"

    def _entries(self, part: PromptLogprobs, places: slice) -> str:
        """The entries of some places, each after a comma."""
        # JSON has no infinities: what the model itself rules out is as unlikely as can be.
        values, likeliest = (
            np.maximum(array[places], UNLIKELY).tolist()
            for array in (part.logprobs, part.top_logprobs)
        )
        others = (array[places].tolist() for array in (part.tokens, part.ranks, part.top_ids))
        columns = zip(*others, values, likeliest, strict=True)
        return "".join([f",{{{self._entry(*column)}}}" for column in columns])

    def _entry(
        self, token: int, rank: int, ids: list[int], value: float, likeliest: list[float]
    ) -> str:
        """The prompt's own token first, then the likeliest, in whose order ranks are places."""
        if token in ids:
            rank = ids.index(token) + 1
        members = [self._member(token, value, rank)]
        for place, (other, likely) in enumerate(zip(ids, likeliest, strict=True), start=1):
            if other != token:
                members.append(self._member(other, likely, place))
        return ",".join(members)

    def _member(self, token: int, value: float, rank: int) -> str:
        return f'"{token}":{{"logprob":{value!r},"rank":{rank}{self._tails[token]}'


class _Tails(dict[int, str]):
    """Members of ids from their ranks on, made when they are first looked up."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> str:
        text = json.dumps(self._tokenizer.token_text(token))
        self[token] = f',"decoded_token":{text}}}'
        return self[token]
