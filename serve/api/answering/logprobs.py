"""Log-probabilities as JSON: the entries of a choice's `logprobs.content`.

Owns the rule of the unlikely token and the form of an entry. Knows nothing of how
log-probabilities are computed, nor of when entries are released: `serve.text.assemble` decides.
"""

import json
from collections.abc import Iterable, Sequence

from model.tokenizer import Tokenizer
from serve.engine.types import TokenEvent

# What the API says of a sampled token that is not among the 20 likeliest.
UNLIKELY = -9999.0


class EntryWriter:
    """Writes entries; shared by all requests of a model.

    A stream writes up to 21 tokens with each one that is sampled, so what an id looks like is
    encoded once, when it is first needed. Entries are ASCII.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._openings = _Openings(tokenizer)

    def entries(self, events: Sequence[TokenEvent], alternatives: int) -> list[str]:
        """One entry for each event, with so many of the likeliest tokens.

        Raises:
            RuntimeError: the engine has sent no log-probabilities with an event.
        """
        return [self._entry(event, alternatives) for event in events]

    def _entry(self, event: TokenEvent, alternatives: int) -> str:
        read = event.logprobs
        if read is None or event.token is None:
            raise RuntimeError("the engine sent a token without its log-probabilities")
        openings, ids, values = self._openings, read.top_ids, read.top_logprobs
        if not values[-1] > UNLIKELY:
            # JSON has no infinities: what the model itself rules out is as unlikely as can be.
            values = tuple(max(UNLIKELY, value) for value in values)
        own = values[ids.index(event.token)] if event.token in ids else UNLIKELY
        pairs = zip(ids[:alternatives], values, strict=False)
        listed = ",".join([f"{openings[token]}{value!r}}}" for token, value in pairs])
        return f'{openings[event.token]}{own!r},"top_logprobs":[{listed}]}}'


class _Openings(dict[int, str]):
    """Entries of ids up to their log-probabilities, made when they are first looked up."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> str:
        exact = self._tokenizer.token_bytes(token)
        shown = "null" if exact is None else f"[{','.join(map(str, exact))}]"
        text = json.dumps(self._tokenizer.token_text(token))
        self[token] = f'{{"token":{text},"bytes":{shown},"logprob":'
        return self[token]


def logprobs_json(entries: Iterable[str] | None, *, refused: bool = False) -> str:
    """The member `logprobs` of a choice, of its content or its refusal; None where nobody asked."""
    if entries is None:
        return "null"
    listed = f"[{','.join(entries)}]"
    content, refusal = ("null", listed) if refused else (listed, "null")
    return f'{{"content":{content},"refusal":{refusal}}}'
