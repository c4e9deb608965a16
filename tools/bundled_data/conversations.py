"""Conversations of several exchanges, endless and seeded.

Knows nothing of tokens. A conversation's later answers depend on its earlier turns through
the name that the user has told.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tools.bundled_data.grammar import Split
from tools.bundled_data.skills import SKILLS, Exchange, Situation, draw_name
from tools.bundled_data.unrelated import system_message

Message = dict[str, str]

_EXCHANGES = (1, 1, 2, 2, 3, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages that end in an answer.

    Attributes:
        messages: `role` and `content` each, `name` where the user has one.
        last: the exchange that ends it.
    """

    messages: tuple[Message, ...]
    last: Exchange


def _weights(rng: random.Random) -> dict[str, float]:
    """Shares of the skills in one conversation; a quarter of them is much about the name."""
    about_name = 4 if rng.random() < 0.25 else 1
    return {
        skill: weight * (about_name if skill in ("tell name", "ask name") else 1)
        for skill, (_, weight) in SKILLS.items()
    }


def conversation(
    rng: random.Random, split: Split, last_skill: str | None = None, exchanges: int | None = None
) -> Conversation:
    """One conversation; `last_skill` settles what its last exchange is about."""
    messages: list[Message] = []
    if rng.random() < 0.2:
        messages.append({"role": "system", "content": system_message(rng)})
    name = draw_name(rng, split) if rng.random() < 0.04 else None
    shown_name = name
    count = exchanges or rng.choice(_EXCHANGES)
    weights = _weights(rng)
    exchange: Exchange | None = None
    for index in range(count):
        skill = rng.choices(list(weights), list(weights.values()))[0]
        if last_skill is not None and index == count - 1:
            skill = last_skill
        elif last_skill == "ask name" and index == 0 and rng.random() < 0.7:
            skill = "tell name"
        exchange = SKILLS[skill][0](Situation(rng, split, name))
        name = exchange.told_name or name
        user: Message = {"role": "user", "content": exchange.user}
        if shown_name is not None:
            user["name"] = shown_name
        messages += [user, {"role": "assistant", "content": exchange.answer}]
    if exchange is None:
        raise ValueError(f"a conversation needs at least one exchange, not {count}")
    return Conversation(tuple(messages), exchange)


def conversations(seed: int, split: Split = Split.TRAIN) -> Iterator[Conversation]:
    """Conversations without end; the same seed gives the same ones."""
    rng = random.Random(seed)
    while True:
        yield conversation(rng, split)
