"""Completions as JSON: the plain response, and the chunks of a stream.

Knows nothing of how text is generated, nor of the events that chunks travel in.
"""

import json
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve.api.logprobs import logprobs_json

_BASE62 = string.digits + string.ascii_letters

# Sizes of a chunk's text, log-probabilities and padding together are multiples of this many bytes.
_OBFUSCATION_STEP = 32

# Legal in JSON as they are, but some clients take them for the end of a line.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def new_completion_id() -> str:
    """`chatcmpl-` and 128 random bits in base 62."""
    number, digits = secrets.randbits(128), ""
    for _ in range(22):
        number, digit = divmod(number, 62)
        digits += _BASE62[digit]
    return f"chatcmpl-{digits}"


@dataclass(frozen=True, slots=True)
class Head:
    """What the response and every chunk of it say alike.

    Attributes:
        id: of the completion.
        created: seconds since 1970.
        model: the served model's own name.
        fingerprint: of all that can change the numbers.
        service_tier: as it was sent; None leaves it out.
    """

    id: str
    created: int
    model: str
    fingerprint: str
    service_tier: str | None

    def fields(self, kind: str) -> dict[str, Any]:
        """The members of an object of that kind, but for its choices."""
        fields: dict[str, Any] = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }
        return fields if self.service_tier is None else fields | {"service_tier": self.service_tier}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request.

    Attributes:
        prompt: tokens of the prompt.
        completion: tokens kept of all choices, without end-of-turn tokens.
        cached: tokens of the prompt that the prefix cache supplied.
    """

    prompt: int
    completion: int
    cached: int

    def as_json(self) -> dict[str, Any]:
        """All members, the ones that nothing applies to as 0."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": self.cached},
            "completion_tokens_details": {
                "accepted_prediction_tokens": 0,
                "audio_tokens": 0,
                "reasoning_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


@dataclass(frozen=True, slots=True)
class EndedChoice:
    """One choice of a plain response.

    Attributes:
        content: the words of the answer; None where it has none beside its calls.
        entries: JSON of their tokens' log-probabilities; None where nobody asked for them.
        reason: how it ended.
        calls: members of the message that tell its calls.
    """

    content: str | None
    entries: Sequence[str] | None
    reason: str
    calls: Mapping[str, Any] = field(default_factory=dict[str, Any])


def completion(head: Head, choices: Sequence[EndedChoice], usage: Usage) -> str:
    """The plain response to a request."""
    listed = ",".join(_choice(index, choice) for index, choice in enumerate(choices))
    fields = _compact(head.fields("chat.completion"))
    return f'{fields[:-1]},"choices":[{listed}],"usage":{_compact(usage.as_json())}}}'


def _choice(index: int, choice: EndedChoice) -> str:
    content = "null" if choice.content is None else _json_string(choice.content)
    calls = f",{_compact(choice.calls)[1:-1]}" if choice.calls else ""
    return (
        f'{{"index":{index},"message":{{"role":"assistant","content":{content}{calls},'
        f'"refusal":null,"annotations":[]}},"logprobs":{logprobs_json(choice.entries)},'
        f'"finish_reason":"{choice.reason}"}}'
    )


class ChunkWriter:
    """Writes the chunks of one stream; what they have in common is encoded once.

    Args:
        head: what the chunks say alike.
        include_usage: whether chunks have the member `usage`.
        obfuscate: whether chunks of choices are padded to even sizes.
    """

    def __init__(self, head: Head, *, include_usage: bool, obfuscate: bool) -> None:
        self._start = _compact(head.fields("chat.completion.chunk"))[:-1] + ',"choices":['
        self._tail = ',"usage":null' if include_usage else ""
        self._obfuscate = obfuscate

    def opening(self, index: int, *, may_call: bool) -> str:
        """The first chunk of a choice. Its content is null where there may be nothing but calls."""
        content = "null" if may_call else '""'
        return self._chunk(index, f'"role":"assistant","content":{content},"refusal":null', "null")

    def content(self, index: int, text: str, entries: Sequence[str] | None) -> str:
        """More text of a choice, with the entries of the tokens that it completes."""
        delta = f'"content":{_json_string(text)}'
        return self._chunk(index, delta, "null", entries)

    def calls(self, index: int, delta: str) -> str:
        """More of a choice's calls: one member of its delta."""
        return self._chunk(index, delta, "null")

    def finish(self, index: int, reason: str) -> str:
        """The last chunk of a choice."""
        return self._chunk(index, "", f'"{reason}"')

    def usage(self, usage: Usage) -> str:
        """The chunk after all choices."""
        return f'{self._start}],"usage":{_compact(usage.as_json())}}}'

    def _chunk(
        self, index: int, delta: str, reason: str, entries: Sequence[str] | None = None
    ) -> str:
        logprobs = logprobs_json(entries)
        said = delta if entries is None else delta + logprobs
        padding = f',"obfuscation":"{_padding(said)}"' if self._obfuscate else ""
        return (
            f'{self._start}{{"index":{index},"delta":{{{delta}}},"logprobs":{logprobs},'
            f'"finish_reason":{reason}}}]{self._tail}{padding}}}'
        )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _json_string(text: str) -> str:
    encoded = json.dumps(text, ensure_ascii=False)
    return encoded if encoded.isascii() else encoded.translate(_LINE_ENDS)


def _padding(said: str) -> str:
    missing = _OBFUSCATION_STEP - len(said.encode()) % _OBFUSCATION_STEP
    return secrets.token_urlsafe(_OBFUSCATION_STEP)[:missing]
