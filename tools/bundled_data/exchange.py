"""One exchange of a conversation: what is said to the model, and what is right to answer.

Knows nothing of how an exchange is worded or of the conversation around it, but for the situation
that a skill may draw on.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tools.bundled_data.grammar import Split
from tools.bundled_data.judges import Call, Judge, exactly
from tools.bundled_data.toolbox import Tool


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is said to the model, and its answer.

    Attributes:
        skill: name of the skill.
        user: the message; empty where results of tools are what is said.
        answer: the words to learn.
        judge: of other answers.
        thought: the working behind the answer, or a line about it.
        works: whether the working is shown unless thinking is switched off.
        brief: the answer in a word or two, for skills that have one.
        told: what the user tells of themselves here.
        results: what tools returned, for the calls of the exchange before.
        calls: the calls that the answer makes.
        schema: the JSON schema that goes with the request as its `response_format`.
    """

    skill: str
    user: str
    answer: str
    judge: Judge
    thought: str = ""
    works: bool = False
    brief: str | None = None
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    results: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    schema: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What a skill draws its exchange from.

    Attributes:
        rng: the source of randomness.
        split: of phrasings, words, names and combinations.
        told: what the user has told before, by what it is about.
        tools: the tools that the model may call.
        before: what the user said last, if anything.
        persona: the name that a system message gave the model.
    """

    rng: random.Random
    split: Split
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    tools: tuple[Tool, ...] = ()
    before: str | None = None
    persona: str | None = None


Skill = Callable[[Situation], Sequence[Exchange]]
"""Makes what belongs together: one exchange, or a question, its calls, and what follows them."""


def plain(
    skill: str, user: str, answer: str, thought: str = "", brief: str | None = None
) -> list[Exchange]:
    """One exchange with one right answer."""
    return [Exchange(skill, user, answer, exactly(answer), thought, brief=brief)]
