"""The parser of one answer, of calls and thoughts as far as there may be any."""

from collections.abc import Collection, Sequence

from serve.text.calls.events import Parser
from serve.text.calls.format import CallFormat
from serve.text.calls.gpt_oss import HarmonyParser
from serve.text.calls.tools import Tool
from serve.text.thoughts.format import Beginning, ThoughtFormat
from serve.text.thoughts.parser import ThoughtParser


def answer_parser(
    thoughts: ThoughtFormat | None,
    calls: CallFormat,
    tools: Sequence[Tool] | None,
    controls: Collection[str],
    beginning: Beginning = "undecided",
) -> Parser | None:
    """What reads one answer; None where all of it is content.

    Args:
        thoughts: how they are marked, if the model has any.
        calls: how calls are written.
        tools: those that may be called; None where the request has none.
        controls: spellings that arrive as control tokens.
        beginning: where the answer stands when the model begins.
    """
    if thoughts is not None and thoughts.in_channels:
        return HarmonyParser(tools or (), in_answer=beginning == "answering")
    parser = None if tools is None else calls.parser(tools, controls)
    if thoughts is None:
        return parser
    return ThoughtParser(thoughts, controls, beginning, parser)
