"""How many tokens a request took, as responses tell it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Completion:
    """Token counts of all choices.

    Attributes:
        kept: tokens of the answers, without end-of-turn tokens.
        predicted: of those, drafted from the request's prediction.
        mispredicted: drafted from it, and refused.
        reasoning: tokens of the answers that are thoughts.
    """

    kept: int = 0
    predicted: int = 0
    mispredicted: int = 0
    reasoning: int = 0

    @property
    def tokens(self) -> int:
        """What the API counts: those that a prediction has cost in vain, too."""
        return self.kept + self.mispredicted


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request.

    Attributes:
        prompt: tokens of the prompt.
        completion: of all choices.
        cached: tokens of the prompt that the prefix cache supplied.
    """

    prompt: int
    completion: Completion
    cached: int

    def as_json(self) -> dict[str, Any]:
        """All members, the ones that nothing applies to as 0."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion.tokens,
            "total_tokens": self.prompt + self.completion.tokens,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": self.cached},
            "completion_tokens_details": {
                "accepted_prediction_tokens": self.completion.predicted,
                "audio_tokens": 0,
                "reasoning_tokens": self.completion.reasoning,
                "rejected_prediction_tokens": self.completion.mispredicted,
            },
        }
