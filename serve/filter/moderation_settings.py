"""How a server of the moderation API is asked."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class ModerationSettings:
    """How it is asked.

    Attributes:
        url: of the resource that takes questions.
        key: sent with them, if there is one.
        seconds: after which a question counts as unanswered.
        unanswered: whether what could not be judged is refused or allowed.
    """

    url: str
    key: str = field(default="", repr=False)
    seconds: float = 5.0
    unanswered: Literal["refuse", "allow"] = "refuse"
