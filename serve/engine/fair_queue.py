"""Who gets the next row, of those of a tier that wait: turns over callers, requests, choices.

Owns the queue, and who has how many rows. Knows nothing of pages, chunks or time: whether a
sequence can begin, and how much of its prompt is left, it is told. Tiers come before all that
(`tiered_queue.py`).
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, repeat
from operator import attrgetter
from typing import NamedTuple, TypeVar

from serve.engine.sequence import Sequence

# So many requests of a caller are looked at in a step: which of them could go before others?
_CONSIDERED = 32

T = TypeVar("T")
Left = Callable[[Sequence], int | None]


# Its rows, what decides between equals before their order does, and what it has waiting.
_Party = tuple[int, tuple[int, ...], Iterator[T]]


class Turn(NamedTuple):
    """A sequence whose turn it is.

    Attributes:
        rows: how many its caller has by then.
        left: how many tokens of its prompt must be computed.
        sequence: waits.
    """

    rows: int
    left: int
    sequence: Sequence


@dataclass(slots=True, eq=False)
class _Request:
    """A request of which something waits or runs.

    Attributes:
        alive: how many of its choices have not ended.
        rows: how many they have.
        waiting: its choices that have not had one yet.
    """

    alive: int = 0
    rows: int = 0
    waiting: deque[Sequence] = field(default_factory=deque[Sequence])


@dataclass(slots=True, eq=False)
class _Caller:
    """A caller of whom something waits or runs.

    Attributes:
        rows: how many its requests have.
        waiting: how many of its choices have none.
        put_back: those of them that have had one.
        requests: id → request.
        idle: those of which something waits and nothing has a row; first the one whose turn, or
            coming, is longest ago.
        served: those of which something waits and something has a row.
        passed_over: whether the first of the idle ones was passed over last time.
    """

    rows: int = 0
    waiting: int = 0
    put_back: deque[Sequence] = field(default_factory=deque[Sequence])
    requests: dict[str, _Request] = field(default_factory=dict[str, _Request])
    idle: OrderedDict[str, _Request] = field(default_factory=OrderedDict[str, _Request])
    served: dict[str, _Request] = field(default_factory=dict[str, _Request])
    passed_over: bool = False

    def first(self) -> _Request | None:
        """The idle request that has waited longest."""
        return next(iter(self.idle.values()), None)

    def sort_in(self, name: str, request: _Request) -> None:
        """Have a request that waits, or has done so, where it belongs."""
        here, there = (self.served, self.idle) if request.rows else (self.idle, self.served)
        there.pop(name, None)
        if not request.waiting:
            here.pop(name, None)
        elif name not in here:
            here[name] = request


class FairQueue:
    """The caller with the fewest rows comes first, of equals the one that has waited longest.

    Of a caller, answers that were put back come first: somebody is reading them. Then comes the
    request with the fewest rows; of equals the one with the shortest prompt, but the one that has
    waited longest is passed over only once.
    """

    def __init__(self) -> None:
        # First the one whose last row, or coming, is longest ago.
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        """Choices that wait."""
        return self._waiting

    def __iter__(self) -> Iterator[Sequence]:
        """All that wait, in no order."""
        for caller in self._callers.values():
            yield from caller.put_back
            for request in caller.requests.values():
                yield from request.waiting

    def rows(self, sequence: Sequence) -> int:
        """How many rows the caller of a sequence has."""
        return self._callers[sequence.caller].rows

    @property
    def fewest_rows(self) -> int | None:
        """The fewest rows that a caller has who waits; None if nobody does."""
        if not self._waiting:
            return None
        return min(caller.rows for caller in self._callers.values() if caller.waiting)

    # --- who comes and goes ------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """A sequence begins to wait."""
        caller = self._callers.setdefault(sequence.caller, _Caller())
        if not caller.waiting:
            self._callers.move_to_end(sequence.caller)
        request = caller.requests.setdefault(sequence.request.id, _Request())
        request.alive += 1
        request.waiting.append(sequence)
        self._count(sequence, waiting=1)

    def seat(self, sequence: Sequence) -> None:
        """A sequence that waits gets a row."""
        caller, request = self._parties(sequence)
        if sequence in caller.put_back:
            caller.put_back.remove(sequence)
        else:
            caller.passed_over = request is not caller.first()
            request.waiting.remove(sequence)
        self._callers.move_to_end(sequence.caller)
        self._count(sequence, rows=1, waiting=-1)

    def put_back(self, sequence: Sequence) -> None:
        """A sequence loses its row, and waits again."""
        # The youngest rows are put back first.
        self._callers[sequence.caller].put_back.appendleft(sequence)
        self._callers.move_to_end(sequence.caller, last=False)
        self._count(sequence, rows=-1, waiting=1)

    def end(self, sequence: Sequence, *, seated: bool) -> None:
        """A sequence ends, with or without a row."""
        caller, request = self._parties(sequence)
        if seated:
            self._count(sequence, rows=-1)
        else:
            line = caller.put_back if sequence in caller.put_back else request.waiting
            line.remove(sequence)
            self._count(sequence, waiting=-1)
        request.alive -= 1
        if not request.alive:
            del caller.requests[sequence.request.id]
        if not caller.requests:
            del self._callers[sequence.caller]

    def _parties(self, sequence: Sequence) -> tuple[_Caller, _Request]:
        caller = self._callers[sequence.caller]
        return caller, caller.requests[sequence.request.id]

    def _count(self, sequence: Sequence, *, rows: int = 0, waiting: int = 0) -> None:
        caller, request = self._parties(sequence)
        caller.rows += rows
        request.rows += rows
        caller.waiting += waiting
        self._waiting += waiting
        caller.sort_in(sequence.request.id, request)

    # --- whose turn it is --------------------------------------------------------------

    def turns(self, left: Left) -> Iterator[Turn]:
        """Who gets a row first, who next and so on, as if each got one. Changes nothing.

        Args:
            left: how many tokens of a sequence's prompt must be computed; None if it cannot begin
                now, and then neither can its request's other choices.
        """
        parties = (
            (caller.rows, (), self._of(caller, left))
            for caller in self._callers.values()
            if caller.waiting
        )
        return (Turn(rows, *next_one) for rows, next_one in _in_turns(parties))

    def _of(self, caller: _Caller, left: Left) -> Iterator[tuple[int, Sequence]]:
        """A caller's waiting sequences in their order, each with what is left of its prompt."""
        for sequence in tuple(caller.put_back):
            tokens = left(sequence)
            if tokens is not None:
                yield tokens, sequence
        parties: list[_Party[tuple[int, Sequence]]] = []
        due = caller.first() if caller.passed_over else None
        served = sorted(caller.served.values(), key=attrgetter("rows"))
        for request in (*islice(caller.idle.values(), _CONSIDERED), *served[:_CONSIDERED]):
            tokens = left(request.waiting[0])
            if tokens is not None:
                choices = zip(repeat(tokens), tuple(request.waiting))
                parties.append((request.rows, (request is not due, tokens), choices))
        for _, next_one in _in_turns(parties):
            yield next_one


def _in_turns(parties: Iterable[_Party[T]]) -> Iterator[tuple[int, T]]:
    """What waits of all parties, each time the next of the one with the fewest rows."""
    heap = [(rows, (0, *order), number, line) for number, (rows, order, line) in enumerate(parties)]
    heapq.heapify(heap)
    while heap:
        rows, _, number, line = heap[0]
        try:
            next_one = next(line)
        except StopIteration:
            heapq.heappop(heap)
            continue
        yield rows, next_one
        # Whoever had a turn comes after its equals.
        heapq.heapreplace(heap, (rows + 1, (1,), number, line))
