"""The parser of one answer, of thoughts and calls as far as there may be any."""

from collections.abc import Collection, Sequence

from serve.text.calls.events import Parser
from serve.text.calls.format import CallFormat
from serve.text.calls.gpt_oss import GPT_OSS, HarmonyParser
from serve.text.calls.tools import Tool
from serve.text.refusals import RefusalParser
from serve.text.template import TemplateError
from serve.text.thoughts.format import Beginning, ThoughtFormat
from serve.text.thoughts.parser import AllContent, ThoughtParser


def answer_parser(
    thoughts: ThoughtFormat | None,
    calls: CallFormat,
    tools: Sequence[Tool] | None,
    controls: Collection[str],
    beginning: Beginning = "undecided",
    *,
    may_refuse: bool = False,
) -> Parser | None:
    """What reads one answer; None where all of it is content.

    Args:
        thoughts: how they are marked, if the model has any.
        calls: how calls are written.
        tools: those that may be called; None where the request has none.
        controls: spellings that arrive as control tokens.
        beginning: where the answer stands when the model begins.
        may_refuse: whether it may be a refusal.
    """
    parser = _parser(thoughts, calls, tools, controls, beginning)
    return RefusalParser(parser or AllContent()) if may_refuse else parser


def _parser(
    thoughts: ThoughtFormat | None,
    calls: CallFormat,
    tools: Sequence[Tool] | None,
    controls: Collection[str],
    beginning: Beginning,
) -> Parser | None:
    if thoughts is not None and thoughts.in_channels:
        return HarmonyParser(tools or (), in_answer=beginning == "answering")
    parser = None if tools is None else calls.parser(tools, controls)
    if thoughts is None:
        return parser
    return ThoughtParser(thoughts, controls, beginning, parser)


def check_together(thoughts: ThoughtFormat | None, calls: CallFormat) -> None:
    """Channels hold thoughts and calls alike: none of the two is read without the other.

    Raises:
        TemplateError: only one of the formats is gpt-oss.
    """
    if thoughts is not None and thoughts.in_channels != (calls == GPT_OSS):
        raise TemplateError(
            f"the reasoning format {thoughts.name!r} does not go with the tool format "
            f"{calls.name!r}; give both --reasoning-format and --tool-format, or none of them"
        )
