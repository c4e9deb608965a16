"""What processes send each other beside the parts of steps: plain data, pickled.

Followers say Hello, and Ready once they have compiled; the leader says Welcome, and in the end End.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Hello(NamedTuple):
    """A follower's first words.

    Attributes:
        process: its index.
        facts: what must be the same everywhere; see `agreement.py`.
    """

    process: int
    facts: Mapping[str, str]


class Welcome(NamedTuple):
    """The leader has found the facts of all processes to be the same."""


class Ready(NamedTuple):
    """A follower has compiled all programs."""


class CannotStart(NamedTuple):
    """A follower ends before it was ready.

    Attributes:
        reason: a sentence for whoever started it.
    """

    reason: str


class StopAsked(NamedTuple):
    """A follower has been asked to end, and asks the leader to end everything in order."""


class End(NamedTuple):
    """The leader ends, and so do all.

    Attributes:
        code: the exit code.
        reason: a sentence for whoever started it; empty after a stop that was asked for.
    """

    code: int
    reason: str = ""
