"""What one choice asks of the sampler.

Knows nothing of arrays: `batch.py` turns these settings into device rows.
"""

from dataclasses import dataclass

SEED_BITS = 64


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Settings of one request, with neutral values for what it does not ask for.

    Attributes:
        temperature: 0 to 2; 0 is argmax, ties to the lowest id.
        top_p: 0 to 1; keeps the smallest set of likeliest tokens whose mass reaches it.
        seed: any integer; its low 64 bits (two's complement) key the draws.

    Raises:
        ValueError: a value is outside its range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 2.0:
            raise ValueError(f"temperature is {self.temperature}; it must be 0 to 2")
        if not 0.0 <= self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p}; it must be 0 to 1")
