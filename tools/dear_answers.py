"""Valid requests that are cheap to send and may be dear to answer, and clients that read badly.

Knows nothing of what a server does with them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampling.params import MAX_LOGIT_BIAS
from serve.api.wire.request import LONGEST_STOP
from tools.crowd import Reading

_GRAMMAR = {
    "type": "object",
    "properties": {
        f"p{number}": {"type": "string", "pattern": "^[a-z]{1,9}( [a-z]{1,9}){0,99}$"}
        for number in range(20)
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class DearAnswer:
    """What a crowd of clients does at once.

    Attributes:
        name: what is dear about it.
        fields: of each request, besides model and messages; None sends nothing at all.
        clients: how many at once, or None for as many as usual.
        reads: how they read: all, a few bytes at a time, or not at all.
        prompt: what they ask.
    """

    name: str
    fields: Mapping[str, Any] | None = field(default_factory=dict[str, Any])
    clients: int | None = None
    reads: Reading = "whole"
    prompt: str = "Hi"

    def bodies(self, model: str) -> Callable[[int], bytes]:
        """The body that each client sends, whatever its size should be."""
        if self.fields is None:
            return lambda _: b""
        messages = [{"role": "user", "content": self.prompt}]
        body = {"model": model, "messages": messages, "temperature": 2, **self.fields}
        return lambda _: json.dumps(body).encode()


def _bias(step: float) -> dict[str, float]:
    return {str(token): (token % 7 - 3) * step for token in range(MAX_LOGIT_BIAS)}


_LONG = {"ignore_eos": True, "max_tokens": 200}
_STREAM = {"stream": True, **_LONG}
DEAR_ANSWERS = (
    DearAnswer(
        "answer: 128 choices with 20 log-probabilities",
        {
            "n": 128,
            "logprobs": True,
            "top_logprobs": 20,
            "stream": True,
            "ignore_eos": True,
            "max_tokens": 16,
        },
    ),
    DearAnswer(
        "answer: 128 choices with 20 log-probabilities, whole",
        {
            "n": 128,
            "logprobs": True,
            "top_logprobs": 20,
            "ignore_eos": True,
            "max_tokens": 16,
        },
    ),
    DearAnswer("answer: 128 choices of one token", {"n": 128, "stream": True, "max_tokens": 1}),
    DearAnswer("answer: one token, again and again", {"max_tokens": 1}, clients=200),
    DearAnswer(
        "answer: stop strings that are never whole",
        {
            **_STREAM,
            "n": 4,
            "stop": [("ab" * ((LONGEST_STOP - 1) // 2)) + end for end in "wxyz"],
        },
    ),
    DearAnswer(
        "answer: stop strings that hold everything back",
        {
            **_STREAM,
            "n": 4,
            "logit_bias": {str(t): 100 for t in range(40, 44)},
            "stop": [letter * LONGEST_STOP for letter in " a\nb"],
        },
    ),
    DearAnswer("answer: every token biased", {**_STREAM, "logit_bias": _bias(0.1)}, clients=32),
    DearAnswer(
        "answer: every rule of sampling",
        {
            **_STREAM,
            "logit_bias": _bias(0.1),
            "top_k": 50,
            "top_p": 0.9,
            "min_p": 0.01,
            "frequency_penalty": 1,
            "presence_penalty": 1,
            "min_tokens": 50,
            "logprobs": True,
            "top_logprobs": 20,
        },
        clients=16,
    ),
    DearAnswer(
        "answer: a grammar of its own",
        {
            **_STREAM,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": _GRAMMAR, "strict": True},
            },
        },
        clients=16,
    ),
    DearAnswer("answer: a prompt as long as the context", {**_STREAM}, prompt="word " * 1_200),
    DearAnswer(
        "answer: usage and obfuscation in every chunk",
        {
            **_STREAM,
            "n": 8,
            "stream_options": {"include_usage": True},
        },
    ),
    DearAnswer("clients: streams that are read slowly", {**_STREAM, "n": 8}, 32, "slowly"),
    DearAnswer(
        "clients: streams that are not read",
        {
            **_STREAM,
            "n": 8,
            "logprobs": True,
            "top_logprobs": 20,
        },
        32,
        "never",
    ),
    DearAnswer("clients: 100 that leave at once", {**_STREAM, "n": 8}, 100, "never"),
    DearAnswer("clients: 2,000 that say nothing", None, 2_000, "never"),
    DearAnswer("clients: 9,000 that say nothing", None, 9_000, "never"),
)
