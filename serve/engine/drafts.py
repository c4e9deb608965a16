"""Placeholder."""

from enum import Enum
from typing import NamedTuple, Protocol

from serve.engine.types import GenerationRequest, Matcher


class Source(Enum):
    GRAMMAR = "grammar"
    PREDICTION = "prediction"
    NGRAM = "ngram"


class Draft(NamedTuple):
    tokens: list[int]
    source: Source


class Drafter(Protocol):
    @property
    def resting(self) -> bool: ...

    def propose(self, tokens: list[int], matcher: Matcher | None, most: int) -> Draft | None: ...

    def learn(self, accepted: int, proposed: int) -> None: ...


def drafter_of(request: GenerationRequest, ngrams: bool) -> Drafter | None:
    return None
