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
    """

    make: Skill
    share: float
    tools: bool = False
    mannered: bool = False


SKILLS: Mapping[str, Practice] = {
    "small talk": Practice(talk.small_talk, 1.0, mannered=True),
    "identity": Practice(talk.identity, 0.8, mannered=True),
    "refusal": Practice(talk.refusal, 0.5),
    facts.SKILL: Practice(facts.facts, 3.0, mannered=True),
    "addition": Practice(arithmetic.addition, 1.2),
    "subtraction": Practice(arithmetic.subtraction, 1.0),
    "multiplication": Practice(arithmetic.multiplication, 0.9),
    "two-digit multiplication": Practice(arithmetic.long_multiplication, 0.7),
    "division": Practice(arithmetic.division, 0.4),
    dates.DATES: Practice(dates.dates, 0.9, mannered=True),
    dates.UNITS: Practice(dates.units, 0.7),
    strings.COPY: Practice(strings.copying, 1.2),
    strings.REVERSE: Practice(strings.reversing, 0.9),
    strings.COUNT: Practice(strings.counting, 0.8),
    strings.SORT: Practice(strings.sorting, 0.7),
    lists.SKILL: Practice(lists.lists, 0.8),
    reading.YES_NO: Practice(reading.yes_or_no, 1.0),
    reading.WHAT: Practice(reading.reading, 0.8),
    extraction.SKILL: Practice(extraction.extraction, 1.0),
    editing.SKILL: Practice(editing.editing, 1.0),
    memory.TELL: Practice(memory.telling, 0.8, mannered=True),
    memory.ASK: Practice(memory.remembering, 0.9, mannered=True),
    lengths.SKILL: Practice(lengths.lengths, 0.8),
    "unknown": Practice(unknown.unknown, 1.0),
    "unclear": Practice(unknown.unclear, 0.7),
    calling.CALL: Practice(calling.calling, 2.0, tools=True),
    calling.AFTER: Practice(calling.after_calling, 1.5, tools=True),
    calling.NONE: Practice(calling.no_call, 1.5, tools=True),
}
