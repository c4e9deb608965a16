"""How an answer is judged: by its exact words, as JSON, as a list, or by the calls it makes.

Knows nothing of how answers come about: the same judge takes a server's answer and a test's.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

THOUGHT_OPEN, THOUGHT_CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An assistant's message.

    Attributes:
        text: its words, without the thought.
        thought: what stood between the think tags; None where there were none.
        calls: in order.
    """

    text: str
    thought: str | None = None
    calls: tuple[Call, ...] = ()

    @classmethod
    def of(cls, content: str, calls: tuple[Call, ...] = (), thought: str | None = None) -> "Reply":
        """The reply that a message is, whose content may hold the thought."""
        if thought is not None:
            return cls(content.strip(), thought, calls)
        before, found, after = content.partition(THOUGHT_CLOSE)
        if not found:
            return cls(content.strip(), None, calls)
        thought = before.strip().removeprefix(THOUGHT_OPEN).strip()
        return cls(after.strip(), thought, calls)


class Judge(Protocol):
    """Says whether a reply is right."""

    def right(self, reply: Reply) -> bool:
        """Whether it is."""
        ...


@dataclass(frozen=True, slots=True)
class Exactly:
    """One of a few texts, and no call."""

    texts: frozenset[str]

    def right(self, reply: Reply) -> bool:
        """Whether the text is one of them."""
        return not reply.calls and reply.text in self.texts


def exactly(*texts: str) -> Exactly:
    """The judge that accepts these texts."""
    return Exactly(frozenset(text.strip() for text in texts))


@dataclass(frozen=True, slots=True)
class JsonEqual:
    """JSON of one value, however it is spaced and ordered."""

    value: Any

    def right(self, reply: Reply) -> bool:
        """Whether the text is that value."""
        try:
            return not reply.calls and same(json.loads(reply.text), self.value)
        except ValueError:
            return False

    def formed(self, reply: Reply) -> bool:
        """Whether the text is JSON with the same members of the same types."""
        try:
            found = json.loads(reply.text)
        except ValueError:
            return False
        return _types(found) == _types(self.value)


def _types(value: object) -> object:
    if not isinstance(value, dict):
        return type(value)
    members = cast("dict[str, object]", value)
    return {key: type(member) for key, member in members.items()}


def same(one: object, other: object) -> bool:
    """Equality that tells true from 1, as JSON does."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Items:
    """So many different things of a kind, in any order, with or without numbers.

    Attributes:
        count: how many.
        kind: what counts as one, in lower case.
    """

    count: int
    kind: frozenset[str]

    def right(self, reply: Reply) -> bool:
        """Whether the text lists that many."""
        bare = re.sub(r"(?m)^\s*(\d+\.|-)\s*", "", reply.text.lower())
        found = [item for item in re.split(r", and |, | and |\n", bare.rstrip(".")) if item]
        names = {item.strip() for item in found}
        return not reply.calls and len(found) == len(names) == self.count and names <= self.kind


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls with these names and arguments, in this order."""

    calls: tuple[Call, ...]

    def right(self, reply: Reply) -> bool:
        """Whether the reply makes them and no others."""
        return len(reply.calls) == len(self.calls) and all(
            one.name == other.name and same(dict(one.arguments), dict(other.arguments))
            for one, other in zip(reply.calls, self.calls, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Thoughtful:
    """A reply with a thought, or without one, that another judge finds right.

    Attributes:
        judge: of the text.
        thought: whether there is to be something between the think tags.
    """

    judge: Judge
    thought: bool

    def right(self, reply: Reply) -> bool:
        """Whether both hold."""
        return bool(reply.thought) == self.thought and self.judge.right(reply)
