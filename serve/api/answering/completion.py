"""The plain response as JSON.

Knows nothing of how text is generated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve.api.answering.head import Head
from serve.api.answering.json_text import compact, json_string
from serve.api.answering.logprobs import logprobs_json
from serve.api.answering.usage import Usage


@dataclass(frozen=True, slots=True)
class EndedChoice:
    """One choice of a plain response.

    Attributes:
        content: the words of the answer; None where it has none beside its calls.
        refusal: why there is no other answer, if it says that.
        entries: JSON of their tokens' log-probabilities; None where nobody asked for them.
        reason: how it ended.
        calls: members of the message that tell its calls.
        thoughts: what the model thought, as far as clients are told.
        annotations: of the content, each in JSON.
        audio: the member of that name in JSON; "" where nobody asked for one.
    """

    content: str | None
    refusal: str | None
    entries: Sequence[str] | None
    reason: str
    calls: Mapping[str, Any] = field(default_factory=dict[str, Any])
    thoughts: str = ""
    annotations: Sequence[str] = ()
    audio: str = ""


def completion(head: Head, choices: Sequence[EndedChoice], usage: Usage) -> str:
    """The plain response to a request."""
    listed = ",".join(_choice(index, choice) for index, choice in enumerate(choices))
    fields = compact(head.fields("chat.completion"))
    return f'{fields[:-1]},"choices":[{listed}],"usage":{compact(usage.as_json())}}}'


def _choice(index: int, choice: EndedChoice) -> str:
    content, refusal = (
        "null" if text is None else json_string(text) for text in (choice.content, choice.refusal)
    )
    logprobs = logprobs_json(choice.entries, refused=choice.refusal is not None)
    calls = f",{compact(choice.calls)[1:-1]}" if choice.calls else ""
    thoughts = f'"reasoning_content":{json_string(choice.thoughts)},' if choice.thoughts else ""
    audio = f',"audio":{choice.audio}' if choice.audio else ""
    return (
        f'{{"index":{index},"message":{{"role":"assistant",{thoughts}"content":{content}{calls},'
        f'"refusal":{refusal},"annotations":[{",".join(choice.annotations)}]{audio}}},'
        f'"logprobs":{logprobs},'
        f'"finish_reason":"{choice.reason}"}}'
    )
