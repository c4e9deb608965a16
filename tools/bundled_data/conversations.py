"""Conversations of several exchanges, endless and seeded.

Knows nothing of tokens. Later answers depend on earlier turns: on what the user told, on the
system message, on the tools, and on whether thinking is switched on or off.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Split
from tools.bundled_data.judges import Judge, Thoughtful
from tools.bundled_data.manner import Manner, manner, neutral, verbosity
from tools.bundled_data.skills import SKILLS
from tools.bundled_data.skills.memory import ASK, TELL
from tools.bundled_data.skills.unknown import long_text
from tools.bundled_data.toolbox import toolbox
from tools.bundled_data.words import name_of

Message = dict[str, Any]

MANNERS, THINKING, VERBOSITY = "system messages", "thinking switches", "verbosity"
FRAMES = (MANNERS, THINKING, VERBOSITY)
ALL_SKILLS = (*SKILLS, *FRAMES)
"""What is evaluated: the skills, and three that change how the others are answered."""

# What can be answered with a thought and without one.
_SWITCHED = ("facts", "small talk", "addition", "dates", "copying", "identity")
_SHARES = {"plain": 0.5, "tools": 0.28, MANNERS: 0.14, THINKING: 0.08, VERBOSITY: 0.12}
_EXCHANGES = (1, 1, 1, 2, 2, 3, 3, 5)
# A thought is learnt at the end of a conversation only: later turns remove it.
_WORKED_LAST, _WORKED_EARLIER = 6.0, 0.2
_NO_THOUGHT = "I can answer this at once."
NEUTRAL_RATE = 0.12
NAMED_RATE = 0.03
TELL_FIRST_RATE = 0.85
MAX_TRIES = 1000
LONG_EXCHANGES = 12
LONG_TEXT_RATE = 0.4


class Thinking(Enum):
    """How a conversation asks for thoughts.

    AUTO: it does not ask. ON and OFF: by `/think` and `/no_think` in a message. CLOSED: the
    template writes an empty thought (`enable_thinking=False`).
    """

    AUTO = "auto"
    ON = "/think"
    OFF = "/no_think"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages that end in an answer.

    Attributes:
        messages: in the form of the API.
        thoughts: of each message; None where there is none to show.
        tools: definitions in the form of the API; empty for none.
        schema: of the last answer, as the request's `response_format`.
        closed: whether the template closes the thought before the last answer begins.
        skill: of the last answer.
        judge: of the last answer.
    """

    messages: tuple[Message, ...]
    thoughts: tuple[str | None, ...]
    tools: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, object] | None
    closed: bool
    skill: str
    judge: Judge


class _Builder:
    """A conversation under way."""

    def __init__(self, rng: random.Random, split: Split, frame: str) -> None:
        self.now = Situation(rng, split)
        self.messages: list[Message] = []
        self.thoughts: list[str | None] = []
        self.manner: Manner | None = None
        self.thinking = Thinking.AUTO
        self.user_name = name_of(rng, split) if rng.random() < NAMED_RATE else None
        told = {} if self.user_name is None else {"name": self.user_name}
        if frame == MANNERS:
            self.manner = manner(rng, split)
            told |= self.manner.told
        elif frame == VERBOSITY:
            self.manner = verbosity(rng)
        elif rng.random() < NEUTRAL_RATE:
            self.manner = neutral(rng)
        if frame == THINKING:
            self.thinking = rng.choice((Thinking.ON, Thinking.OFF, Thinking.CLOSED))
        tools = toolbox(rng, split) if frame == "tools" else ()
        persona = None if self.manner is None else self.manner.persona
        self.now = replace(self.now, told=told, tools=tools, persona=persona)
        if self.manner is not None:
            # Some services call the system's role developer; the template makes them one.
            self._say(
                {
                    "role": rng.choice(("system",) * 4 + ("developer",)),
                    "content": self.manner.system,
                }
            )

    def _say(self, message: Message, thought: str | None = None) -> None:
        self.messages.append(message)
        self.thoughts.append(thought)

    def takes(self, exchange: Exchange) -> bool:
        """Whether the exchange can be answered here: in this manner, and without a thought."""
        mannered = self.manner is None or self.manner.fits(exchange)
        silent = self.thinking in (Thinking.OFF, Thinking.CLOSED)
        return mannered and not (silent and exchange.works)

    def add(self, exchange: Exchange) -> Exchange:
        """One exchange more; returns it as it was said."""
        if self.manner is not None:
            exchange = self.manner.applied(exchange)
        if exchange.results:
            calls = self.messages[-1]["tool_calls"]
            for call, result in zip(calls, exchange.results, strict=True):
                self._say({"role": "tool", "tool_call_id": call["id"], "content": result})
        else:
            self._say(self._user(exchange))
        answer: Message = {"role": "assistant", "content": exchange.answer}
        if exchange.calls:
            answer["tool_calls"] = self._wire_calls(exchange)
        self._say(answer, self._thought(exchange))
        told = {**self.now.told, **exchange.told}
        self.now = replace(self.now, told=told, before=exchange.user or None)
        return exchange

    def _user(self, exchange: Exchange) -> Message:
        text = exchange.user
        if self.thinking in (Thinking.ON, Thinking.OFF):
            text = f"{text} {self.thinking.value}"
        message: Message = {"role": "user", "content": text}
        if self.user_name is not None:
            message["name"] = self.user_name
        return message

    def _wire_calls(self, exchange: Exchange) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{len(self.messages)}_{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for place, call in enumerate(exchange.calls)
        ]

    def _thought(self, exchange: Exchange) -> str | None:
        match self.thinking:
            case Thinking.ON:
                return exchange.thought or _NO_THOUGHT
            case Thinking.AUTO:
                return exchange.thought if exchange.works else None
            case _:
                return None

    def finished(self, skill: str, last: Exchange) -> Conversation:
        """The conversation, judged by its last answer."""
        judge = last.judge
        if skill == THINKING:
            judge = Thoughtful(judge, self.thinking is Thinking.ON)
        return Conversation(
            tuple(self.messages),
            tuple(self.thoughts),
            tuple(tool.definition for tool in self.now.tools),
            last.schema,
            self.thinking is Thinking.CLOSED,
            skill,
            judge,
        )


def _frame_of(rng: random.Random, skill: str | None) -> str:
    if skill in FRAMES:
        return skill
    if skill is None:
        return rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    return "tools" if SKILLS[skill].tools else "plain"


def _drawn(builder: _Builder, shares: Mapping[str, float]) -> list[Exchange]:
    """The exchanges of one skill that fits the conversation."""
    for _ in range(MAX_TRIES):
        skill = builder.now.rng.choices(list(shares), list(shares.values()))[0]
        if skill == ASK and not builder.now.told and builder.now.rng.random() < TELL_FIRST_RATE:
            skill = TELL
        made = list(SKILLS[skill].make(builder.now))
        if all(map(builder.takes, made)):
            return made
    raise ValueError(f"no skill of {', '.join(shares)} fits the conversation {builder.messages}")


def _leading_to(builder: _Builder, skill: str) -> list[Exchange]:
    """The exchanges of a skill, up to the one that is of it."""
    made = list(SKILLS[skill].make(builder.now))
    place = next(at for at, exchange in enumerate(made) if exchange.skill == skill)
    return made[: place + 1]


def _shares(rng: random.Random, frame: str) -> dict[str, float]:
    """Shares of the skills in one conversation; a fifth of them is much about memory."""
    if frame == THINKING:
        return dict.fromkeys(_SWITCHED, 1.0)
    memory = 5.0 if rng.random() < 0.2 else 1.0
    return {
        name: practice.share * (memory if name in (TELL, ASK) else 1.0)
        for name, practice in SKILLS.items()
        if practice.tools == (frame == "tools") and (frame != MANNERS or practice.mannered)
    }


def _weighted(shares: Mapping[str, float], worked: float) -> dict[str, float]:
    return {name: share * (worked if SKILLS[name].worked else 1) for name, share in shares.items()}


def conversation(
    rng: random.Random, split: Split, skill: str | None = None, exchanges: int | None = None
) -> Conversation:
    """One conversation; `skill` settles what its last answer is about."""
    frame = _frame_of(rng, skill)
    builder = _Builder(rng, split, frame)
    shares = _shares(rng, frame)
    count = exchanges or rng.choice(_EXCHANGES if frame != "tools" else _EXCHANGES[:5])
    earlier = _weighted(shares, _WORKED_EARLIER)
    for _ in range(count - 1):
        if skill == ASK and not builder.now.told:
            for exchange in SKILLS[TELL].make(builder.now):
                builder.add(exchange)
        for exchange in _drawn(builder, earlier):
            builder.add(exchange)
    if skill is None or skill not in SKILLS:
        made = _drawn(builder, _weighted(shares, _WORKED_LAST))
    else:
        made = _leading_to(builder, skill)
    said = [builder.add(exchange) for exchange in made]
    return builder.finished(skill or said[-1].skill, said[-1])


def long_conversation(rng: random.Random, split: Split) -> Conversation:
    """One that fills a context: a dozen exchanges, or one text too long to make sense of."""
    if rng.random() < LONG_TEXT_RATE:
        builder = _Builder(rng, split, "plain")
        made = long_text(builder.now)[0]
        return builder.finished(made.skill, builder.add(made))
    return conversation(rng, split, exchanges=LONG_EXCHANGES)
