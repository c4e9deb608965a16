"""What a parser made of an answer, put together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from serve.text.calls.events import (
    CallArguments,
    CallEnded,
    CallStarted,
    Content,
    Event,
    Parser,
)


@dataclass
class Call:
    name: str
    kind: str
    text: str = ""
    complete: bool | None = None


@dataclass
class Answer:
    content: str = ""
    calls: list[Call] = field(default_factory=list)


def assembled(events: Iterable[Event], fed: str | None = None) -> Answer:
    """Events to an answer; with the characters that were fed, positions are checked too."""
    answer = Answer()
    for event in events:
        match event:
            case Content(text, start):
                assert text
                assert fed is None or fed[start : start + len(text)] == text
                answer.content += text
            case CallStarted(index, name, kind):
                assert index == len(answer.calls)
                assert all(call.complete is not None for call in answer.calls)
                answer.calls.append(Call(name, kind))
            case CallArguments(index, text):
                assert text
                assert index == len(answer.calls) - 1
                assert answer.calls[index].complete is None
                answer.calls[index].text += text
            case CallEnded(index, complete):
                assert answer.calls[index].complete is None
                answer.calls[index].complete = complete
    assert all(call.complete is not None for call in answer.calls)
    return answer


def parse(parser: Parser, fed: Sequence[tuple[bool, str]], *, turn_ended: bool = True) -> Answer:
    events: list[Event] = []
    for is_control, text in fed:
        events += parser.feed_control(text) if is_control else parser.feed(text)
    events += parser.flush(turn_ended=turn_ended)
    return assembled(events, "".join(text for is_control, text in fed if not is_control))
