"""How many tokens a request took, as responses tell it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request.

    Attributes:
        prompt: tokens of the prompt.
        completion: tokens kept of all choices, without end-of-turn tokens.
        cached: tokens of the prompt that the prefix cache supplied.
    """

    prompt: int
    completion: int
    cached: int

    def as_json(self) -> dict[str, Any]:
        """All members, the ones that nothing applies to as 0."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": self.cached},
            "completion_tokens_details": {
                "accepted_prediction_tokens": 0,
                "audio_tokens": 0,
                "reasoning_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
