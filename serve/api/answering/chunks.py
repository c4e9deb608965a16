"""The chunks of a stream as JSON.

Knows nothing of how text is generated, nor of the events that chunks travel in.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from serve.api.answering.head import Head
from serve.api.answering.json_text import compact, json_string
from serve.api.answering.logprobs import logprobs_json
from serve.api.answering.usage import Usage

# Sizes of a chunk's text, log-probabilities and padding together are multiples of this many bytes.
_OBFUSCATION_STEP = 32


class ChunkWriter:
    """Writes the chunks of one stream; what they have in common is encoded once.

    Args:
        head: what the chunks say alike.
        include_usage: whether chunks have the member `usage`.
        obfuscate: whether chunks of choices are padded to even sizes.
    """

    def __init__(self, head: Head, *, include_usage: bool, obfuscate: bool) -> None:
        self._start = compact(head.fields("chat.completion.chunk"))[:-1] + ',"choices":['
        self._tail = ',"usage":null' if include_usage else ""
        self._obfuscate = obfuscate

    def opening(self, index: int, *, may_lack_content: bool) -> str:
        """The first chunk of a choice. Its content is null where there may be none."""
        content = "null" if may_lack_content else '""'
        return self._chunk(index, f'"role":"assistant","content":{content},"refusal":null', "null")

    def text(
        self,
        index: int,
        text: str,
        entries: Sequence[str] | None,
        *,
        refused: bool,
        spoken: str = "",
    ) -> str:
        """More content or refusal of a choice, with the entries of the tokens that it completes.

        Content that is spoken is told as what the sound of that name says.
        """
        delta = f'"{"refusal" if refused else "content"}":{json_string(text)}'
        if spoken:
            delta = f'"audio":{{"id":"{spoken}","transcript":{json_string(text)}}}'
        return self._chunk(index, delta, "null", logprobs_json(entries, refused=refused))

    def thoughts(self, index: int, text: str) -> str:
        """More of what the model thought for a choice."""
        return self._chunk(index, f'"reasoning_content":{json_string(text)}', "null")

    def calls(self, index: int, delta: str) -> str:
        """More of a choice's calls: one member of its delta."""
        return self._chunk(index, delta, "null")

    def audio(self, index: int, members: Mapping[str, Any]) -> str:
        """More of a choice's sound."""
        return self._chunk(index, f'"audio":{compact(members)}', "null")

    def annotations(self, index: int, annotations: Sequence[str]) -> str:
        """What a choice cites, each in JSON."""
        return self._chunk(index, f'"annotations":[{",".join(annotations)}]', "null")

    def finish(self, index: int, reason: str) -> str:
        """The last chunk of a choice."""
        return self._chunk(index, "", f'"{reason}"')

    def usage(self, usage: Usage) -> str:
        """The chunk after all choices."""
        return f'{self._start}],"usage":{compact(usage.as_json())}}}'

    def _chunk(self, index: int, delta: str, reason: str, logprobs: str = "null") -> str:
        said = delta if logprobs == "null" else delta + logprobs
        padding = f',"obfuscation":"{_padding(said)}"' if self._obfuscate else ""
        return (
            f'{self._start}{{"index":{index},"delta":{{{delta}}},"logprobs":{logprobs},'
            f'"finish_reason":{reason}}}]{self._tail}{padding}}}'
        )


def _padding(said: str) -> str:
    missing = _OBFUSCATION_STEP - len(said.encode()) % _OBFUSCATION_STEP
    return secrets.token_urlsafe(_OBFUSCATION_STEP)[:missing]
