"""The skills by name: what the model learns to do, and how often it is practised."""

from collections.abc import Mapping
from typing import NamedTuple

from tools.bundled_data.exchange import Skill
from tools.bundled_data.skills import (
    arithmetic,
    calling,
    dates,
    editing,
    extraction,
    facts,
    lengths,
    lists,
    memory,
    reading,
    strings,
    talk,
    unknown,
)


class Practice(NamedTuple):
    """A skill and its share of the exchanges.

    Attributes:
        make: makes the exchanges.
        share: relative to the other skills'.
        tools: whether it needs tools in the conversation.
        mannered: whether its answers can follow a system message about their form.
        worked: whether most of its answers come after a thought that works them out. Only the last
            answer of a conversation is learnt with its thought.
    """

    make: Skill
    share: float
    tools: bool = False
    mannered: bool = False
    worked: bool = False


SKILLS: Mapping[str, Practice] = {
    "small talk": Practice(talk.small_talk, 0.9, mannered=True),
    "identity": Practice(talk.identity, 0.7, mannered=True),
    "refusal": Practice(talk.refusal, 0.5),
    facts.SKILL: Practice(facts.facts, 1.3, mannered=True),
    "addition": Practice(arithmetic.addition, 1.1, worked=True),
    "subtraction": Practice(arithmetic.subtraction, 1.3, worked=True),
    "multiplication": Practice(arithmetic.multiplication, 0.9, worked=True),
    "two-digit multiplication": Practice(arithmetic.long_multiplication, 1.7, worked=True),
    "division": Practice(arithmetic.division, 0.8, worked=True),
    dates.DATES: Practice(dates.dates, 0.5, mannered=True),
    dates.UNITS: Practice(dates.units, 0.9, worked=True),
    strings.COPY: Practice(strings.copying, 1.5),
    strings.REVERSE: Practice(strings.reversing, 1.5, worked=True),
    strings.COUNT: Practice(strings.counting, 1.7, worked=True),
    strings.SORT: Practice(strings.sorting, 1.8, worked=True),
    lists.SKILL: Practice(lists.lists, 1.7, worked=True),
    reading.YES_NO: Practice(reading.yes_or_no, 2.0, worked=True),
    reading.WHAT: Practice(reading.reading, 0.8),
    extraction.SKILL: Practice(extraction.extraction, 2.0),
    editing.SKILL: Practice(editing.editing, 2.2),
    memory.TELL: Practice(memory.telling, 0.4, mannered=True),
    memory.ASK: Practice(memory.remembering, 2.2, mannered=True),
    lengths.SKILL: Practice(lengths.lengths, 1.0),
    "unknown": Practice(unknown.unknown, 1.0),
    "unclear": Practice(unknown.unclear, 0.6),
    calling.CALL: Practice(calling.calling, 3.5, tools=True),
    calling.AFTER: Practice(calling.after_calling, 1.3, tools=True),
    calling.NONE: Practice(calling.no_call, 1.2, tools=True),
}
