"""What a request carries that changes nothing: the paths that its response names.

Which fields never do, the wire knows (`wire/no_effect.py`); which have none in this request, is
told here.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from serve.api.wire.faults import path_of
from serve.api.wire.messages import AssistantMessage, Message, ToolMessage
from serve.api.wire.no_effect import marked_fields
from serve.api.wire.prediction import Prediction
from serve.api.wire.tools import CustomToolDefinition, FunctionToolDefinition
from serve.thought_fields import THOUGHTS

# A header of that many is about a kilobyte.
MOST_NAMED = 16


def without_effect(
    messages: Sequence[Message],
    tools: Sequence[FunctionToolDefinition | CustomToolDefinition],
    prediction: Prediction | None = None,
    *,
    shows_thoughts: bool,
) -> str:
    """The paths of the fields that are accepted and change nothing, in ASCII; "" for none.

    Args:
        messages: valid ones.
        tools: valid ones.
        prediction: a valid one, if any.
        shows_thoughts: whether the model's template takes an assistant's earlier thoughts.
    """
    paths = chain(
        _of_messages(messages, shows_thoughts),
        marked_fields(list(tools), ("tools",)),
        marked_fields(prediction, ("prediction",)),
    )
    named = list(islice(paths, MOST_NAMED))
    more = sum(1 for _ in paths)
    return ", ".join([*named, f"and {more} more"] if more else named)


def _of_messages(messages: Sequence[Message], shows_thoughts: bool) -> Iterator[str]:
    called: dict[str, str] = {}
    for index, message in enumerate(messages):
        at = ("messages", index)
        if isinstance(message, AssistantMessage):
            taken = message.thoughts if shows_thoughts else ""
            for field in THOUGHTS:
                if getattr(message, field) not in (None, "", taken):
                    yield path_of((*at, field))
            for place, call in enumerate(message.tool_calls or ()):
                called[call.id] = call.named
                if call.index not in (None, place):
                    yield path_of((*at, "tool_calls", place, "index"))
        elif (
            isinstance(message, ToolMessage)
            # A result is of the call whose id it has, whatever else it says.
            and message.name not in (None, "", called[message.tool_call_id])
        ):
            yield path_of((*at, "name"))
        yield from marked_fields(message, at)
