"""What one choice asks of the sampler.

Knows nothing of arrays: `batch.py` turns these settings into device rows.
"""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass

SEED_BITS = 64
MAX_LOGIT_BIAS = 1024
# End-of-turn ids that a row has room for where a model has no more of them.
END_IDS = 8
# Ids of its own at which a request may end.
MAX_STOP_IDS = 32
LEAST_REPETITION_PENALTY = 0.01
# The bias that removes a token for good.
BAN = -100.0


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Settings of one request, with neutral values for what it does not ask for.

    Attributes:
        temperature: 0 to 2; 0 is argmax, ties to the lowest id.
        top_p: 0 to 1; keeps the smallest set of likeliest tokens whose mass reaches it.
        seed: any integer; its low 64 bits (two's complement) key the draws.
        logit_bias: (token id, bias) pairs, ids distinct, biases −100 to 100, at most 1,024;
            added to the raw logits; −100 removes the token.
        frequency_penalty: −2 to 2, times how often a token was sampled in this choice.
        presence_penalty: −2 to 2, once for every token sampled in this choice.
        repetition_penalty: 0.01 to 2; divides the positive logits of the prompt's and the
            answer's tokens, and multiplies the others; 1 changes nothing.
        top_k: 0 for off; keeps the k likeliest tokens, ties to the lowest ids.
        min_p: 0 to 1; keeps tokens at least so likely as min_p times the likeliest.
        min_tokens: end-of-turn ids, and those of `stop_ids`, are banned until so many tokens
            are sampled.
        ignore_eos: end-of-turn ids are banned throughout.
        logprobs: report log-probabilities of the sampled and of the likeliest tokens.
        stop_ids: distinct ids at which the choice ends, beside those that end a turn; at most 32.

    Raises:
        ValueError: a value is outside its range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    top_k: int = 0
    min_p: float = 0.0
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: bool = False
    repetition_penalty: float = 1.0
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, low, high in (
            ("temperature", 0.0, 2.0),
            ("top_p", 0.0, 1.0),
            ("min_p", 0.0, 1.0),
            ("frequency_penalty", -2.0, 2.0),
            ("presence_penalty", -2.0, 2.0),
            ("repetition_penalty", LEAST_REPETITION_PENALTY, 2.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {low:g} to {high:g}")
        for name in ("top_k", "min_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if len(self.logit_bias) > MAX_LOGIT_BIAS:
            raise ValueError(
                f"logit_bias has {len(self.logit_bias)} entries; at most {MAX_LOGIT_BIAS} are "
                "allowed"
            )
        if len({token for token, _ in self.logit_bias}) < len(self.logit_bias):
            raise ValueError("logit_bias names a token twice; give each token one bias")
        if len(self.stop_ids) > MAX_STOP_IDS:
            raise ValueError(
                f"stop_ids has {len(self.stop_ids)} entries; at most {MAX_STOP_IDS} are allowed"
            )
        if any(not -100.0 <= bias <= 100.0 for _, bias in self.logit_bias):
            raise ValueError("logit_bias has a bias outside -100 to 100")

    @property
    def banned(self) -> list[int]:
        """The tokens that `logit_bias` removes."""
        return [token for token, bias in self.logit_bias if bias == BAN]

    @property
    def bans_ends(self) -> bool:
        """Whether end ids are banned, at first or throughout."""
        return self.ignore_eos or self.min_tokens > 0

    def early_ids(self, end_ids: Collection[int]) -> Mapping[int, int]:
        """Ids that are banned, with how many tokens must be sampled before each may come.

        Args:
            end_ids: ids that end a turn.
        """
        if not self.bans_ends:
            return {}
        own = dict.fromkeys(self.stop_ids, self.min_tokens) if self.min_tokens else {}
        return own | dict.fromkeys(end_ids, sys.maxsize if self.ignore_eos else self.min_tokens)
