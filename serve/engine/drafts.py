"""Where drafts come from: tokens that may well be an answer's next ones, verified in one step.

Three sources: a grammar that leaves no choice; the text that a request predicts; and what the row
itself has said before, or its prompt. The two texts are followed beside the answer, which tells
how well they foretell it even where nothing of them is drafted. Knows nothing of how drafts are
verified, and cannot make an answer wrong: only slower.
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve.engine.types import GenerationRequest, Matcher

# Places with the same two tokens before them that are looked at, and tokens before each.
_PLACES = 32
_CONTEXT = 16
# In a prediction behind the place that was reached, two tokens in a row may be chance.
_LEAST_BACK = 3
# Pairs of an answer's tokens that are remembered, some 150 bytes each.
_MOST_PAIRS = 2**14

# Tokens: the longest draft, and the first one of what nobody has predicted.
_LONGEST = 64
_FIRST_GUESS = 4
# Tokens that a draft must give on average, of the last few; about what it takes of a step.
_WORTH = 0.6
# What a source is held to give at first, and at most.
_TRUST = 2.0
# Tokens that a source pauses for first, and at most.
_FIRST_PAUSE = 4
_LONGEST_PAUSE = 256
# So many tokens foretold in a row end a pause.
_REGAINED = 6


class Source(Enum):
    """Whose word a draft is."""

    GRAMMAR = "grammar"
    PREDICTION = "prediction"
    NGRAM = "ngram"


class Draft(NamedTuple):
    """Tokens that may come next.

    Attributes:
        tokens: at least one.
        source: see `Source`.
    """

    tokens: list[int]
    source: Source


class Drafter:
    """Drafts for one choice.

    Args:
        predicted: the request's prediction, if it has one.
        prompt: the request's prompt, if what has been said before is drafted.
        start: tokens of the prompt.
        never: ids that are not drafted: those that end a choice, and those that are banned.
        forces: whether the request has a constraint, which may leave no choice.
    """

    def __init__(
        self,
        predicted: "_Text | None",
        prompt: "_Text | None",
        start: int,
        never: frozenset[int],
        forces: bool,
    ) -> None:
        self._predicted, self._prompt, self._start, self._never = predicted, prompt, start, never
        self._forces = forces
        self._guides: list[tuple[Source, _Trail, _Pace]] = []
        if predicted is not None:
            trail = _PredictionTrail(predicted, start)
            self._guides.append((Source.PREDICTION, trail, _Pace(_LONGEST)))
        if prompt is not None:
            self._guides.append((Source.NGRAM, _OwnTrail(prompt, start), _Pace(_FIRST_GUESS)))
        self._last: _Pace | None = None

    def sibling(self) -> "Drafter":
        """Drafts for another choice of the request, from its beginning; shares the texts."""
        return Drafter(self._predicted, self._prompt, self._start, self._never, self._forces)

    @property
    def resting(self) -> bool:
        """Whether it has no draft before the answer has gone on."""
        return not self._forces and not any(
            pace.length and trail.found for _, trail, pace in self._guides
        )

    def follow(self, tokens: Sequence[int]) -> None:
        """Take note of how the answer goes on, where no draft can be used: see `propose`."""
        self._last = None
        for _, trail, pace in self._guides:
            pace.passed(trail.follow(tokens), trail.run)

    def propose(self, tokens: Sequence[int], matcher: Matcher | None, most: int) -> Draft | None:
        """What may well come next; None for nothing.

        Args:
            tokens: prompt and answer so far, each time those of the last time and new ones.
            matcher: at the end of the answer so far, if the request has a constraint. No token of
                a draft is against it.
            most: tokens of a draft.
        """
        self.follow(tokens)
        if most < 1:
            return None
        forced = [] if matcher is None else self._usable(matcher.forced())[:most]
        for source, trail, pace in self._guides:
            drafted = self._usable(trail.ahead(min(most, pace.length)))
            # What is forced needs no other word, unless that knows how it goes on.
            if drafted[: len(forced)] != forced:
                continue
            if matcher is not None:
                drafted = drafted[: matcher.allows(drafted)]
            if len(drafted) > len(forced):
                self._last = pace
                return Draft(drafted, source)
        return Draft(forced, Source.GRAMMAR) if forced else None

    def learn(self, accepted: int, proposed: int) -> None:
        """What came of the last draft.

        Args:
            accepted: tokens of it that are in the answer.
            proposed: tokens of it that were verified, perhaps fewer than it had.
        """
        if self._last is not None and proposed:
            self._last.learn(accepted, proposed)
        self._last = None

    def _usable(self, tokens: list[int]) -> list[int]:
        """Up to the first that is never drafted."""
        ends = (at for at, token in enumerate(tokens) if token in self._never)
        return tokens[: next(ends, len(tokens))]


def drafter_of(request: GenerationRequest, ngrams: bool) -> Drafter | None:
    """Drafts for a request's first choice; None where there is nothing to make any of.

    Args:
        request: the request. The others' are `Drafter.sibling`s.
        ngrams: whether what has been said before is drafted too.
    """
    predicted = _Text(request.prediction) if request.prediction else None
    if predicted is None and request.constraint is None and not ngrams:
        return None
    sampling = request.sampling
    never = request.end_ids | {*sampling.stop_ids, *sampling.banned}
    prompt = _Text(request.prompt) if ngrams else None
    forces = request.constraint is not None
    return Drafter(predicted, prompt, len(request.prompt), never, forces)


class _Pace:
    """How much of a source is drafted: what it has given decides.

    Args:
        length: tokens of the first draft.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._gain = _TRUST
        self._pause = _FIRST_PAUSE
        self._paused = 0

    @property
    def length(self) -> int:
        """Most tokens of the next draft; 0 during a pause."""
        return 0 if self._paused else self._length

    def passed(self, tokens: int, run: int) -> None:
        """The answer has gone on.

        Args:
            tokens: by so many.
            run: tokens in a row, up to now, that the source has foretold.
        """
        if not self._paused:
            return
        self._paused = max(0, self._paused - tokens)
        if run >= _REGAINED:
            self._paused, self._pause = 0, _FIRST_PAUSE
            self._gain, self._length = _TRUST, max(self._length, run)

    def learn(self, accepted: int, proposed: int) -> None:
        """So many tokens of a draft of so many, at least one, were right."""
        self._gain = min(_TRUST, (self._gain + accepted) / 2)
        if accepted == proposed:
            self._length = min(2 * self._length, _LONGEST)
        else:
            self._length = max(1, accepted, min(self._length, proposed) // 2)
        if self._gain >= _WORTH:
            if accepted:
                self._pause = _FIRST_PAUSE
            return
        self._paused = self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        # The next refusal is enough.
        self._gain = 1.0


class _Text:
    """A text that does not change, and where in it two tokens stand in a row."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tokens

    def after(self, first: int, second: int) -> NDArray[np.int64]:
        """The places after these two tokens, in order."""
        pairs, order = self._sorted
        key = _pair(first, second)
        start, end = np.searchsorted(pairs, (key, key + 1))
        return order[start:end] + 2

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All pairs in order, and where they stand; 15 ms for 100,000 tokens."""
        ids = np.array(self.tokens, np.int64)
        pairs = (ids[:-1] << 32) | ids[1:]
        order = np.argsort(pairs, kind="stable")
        return pairs[order], order


class _Trail(ABC):
    """Follows a text beside an answer.

    Attributes:
        run: tokens of the answer, up to now, that the text has foretold in a row.
    """

    def __init__(self, start: int, place: int | None) -> None:
        self.run = 0
        self._tokens: Sequence[int] = ()
        self._followed = start
        self._place = place

    def follow(self, tokens: Sequence[int]) -> int:
        """Go on to the end of `tokens`; how many are new."""
        new = range(self._followed, len(tokens))
        self._tokens, self._followed = tokens, len(tokens)
        for at in new:
            self._go_on(tokens[at])
        if self._place is None:
            self._place = self._find()
        return len(new)

    @property
    def found(self) -> bool:
        """Whether the text seems to go on as the answer does."""
        return self._place is not None

    @abstractmethod
    def ahead(self, most: int) -> list[int]:
        """What the text has next, `most` tokens or fewer."""

    @property
    @abstractmethod
    def _text(self) -> Sequence[int]:
        """The text that is followed."""

    @abstractmethod
    def _find(self) -> int | None:
        """The place in the text where the answer goes on, if it seems to anywhere."""

    def _go_on(self, token: int) -> None:
        if self._place is None:
            return
        if self._text[self._place] == token:
            self._place += 1
            self.run += 1
            if self._place < len(self._text):
                return
        self._lose()

    def _lose(self) -> None:
        self._place, self.run = None, 0


class _PredictionTrail(_Trail):
    """Follows a prediction from its beginning, and again from where the answer meets it."""

    def __init__(self, predicted: _Text, start: int) -> None:
        super().__init__(start, 0)
        self._predicted = predicted
        self._start = start
        # The prediction is known to have been followed up to here.
        self._reached = 0

    def ahead(self, most: int) -> list[int]:
        return [] if self._place is None else list(self._text[self._place : self._place + most])

    @property
    def _text(self) -> Sequence[int]:
        return self._predicted.tokens

    def _lose(self) -> None:
        if self._place is not None and self.run:
            self._reached = self._place
        super()._lose()

    def _find(self) -> int | None:
        places = self._predicted.after(*self._tokens[-2:])
        places = places[places < len(self._text)]
        border = int(np.searchsorted(places, self._reached))
        onwards = places[border : border + _PLACES].tolist()
        back = places[max(0, border - _PLACES) : border].tolist()
        found = self._longest(onwards, 2)
        return self._longest(back[::-1], _LEAST_BACK) if found is None else found

    def _longest(self, places: list[int], least: int) -> int | None:
        """The first of the places that have most of the answer's end before them."""
        room = min(_CONTEXT, len(self._tokens) - self._start)
        common = [_common(self._text, place, self._tokens, room) for place in places]
        longest = max(common, default=0)
        return places[common.index(longest)] if longest >= least else None


class _OwnTrail(_Trail):
    """Follows what the row said after its last tokens when it last had them."""

    def __init__(self, prompt: _Text, start: int) -> None:
        super().__init__(start, None)
        self._prompt = prompt
        # Of pairs of tokens with one of the answer: the last place after each; and for each
        # place, from the first on that is remembered, the one before with the same pair.
        self._after: dict[int, int] = {}
        self._before = array("q")
        self._first = start + 1

    def ahead(self, most: int) -> list[int]:
        if self._place is None:
            return []
        known = list(self._tokens[self._place : self._place + most])
        # What would go beyond the end begins anew.
        return [known[at % len(known)] for at in range(most)]

    @property
    def _text(self) -> Sequence[int]:
        return self._tokens

    def _find(self) -> int | None:
        tokens = self._tokens
        if len(tokens) < 2:
            return None
        self._remember(tokens)
        places = self._in_answer(*tokens[-2:])
        if len(places) < _PLACES:
            places += self._prompt.after(*tokens[-2:])[: -_PLACES - 1 : -1].tolist()
        # A prompt's own end is none.
        places = [place for place in places if place < len(tokens)]
        common = [_common(tokens, place, tokens, _CONTEXT) for place in places]
        return places[common.index(max(common))] if common else None

    def _in_answer(self, first: int, second: int) -> list[int]:
        """The last places after these two tokens, the last one first."""
        places: list[int] = []
        place = self._after.get(_pair(first, second), -1)
        while place >= self._first and len(places) < _PLACES:
            places.append(place)
            place = self._before[place - self._first]
        return places

    def _remember(self, tokens: Sequence[int]) -> None:
        """Pairs up to the last but one, which is looked for."""
        for place in range(self._first + len(self._before), len(tokens)):
            if len(self._before) >= _MOST_PAIRS:
                self._after.clear()
                self._before = array("q")
                self._first = place
            pair = _pair(tokens[place - 2], tokens[place - 1])
            self._before.append(self._after.get(pair, -1))
            self._after[pair] = place


def _pair(first: int, second: int) -> int:
    return first << 32 | second


def _common(text: Sequence[int], place: int, tokens: Sequence[int], most: int) -> int:
    """How many tokens before a place of a text are the last of `tokens`, up to `most`."""
    most = min(most, place)
    end = len(tokens)
    for length in range(most):
        if text[place - 1 - length] != tokens[end - 1 - length]:
            return length
    return most
