"""Whose turn it is, by the queue and the order of prompts alone."""

from dataclasses import replace

from sampling.params import SamplingParams
from serve.engine.fair_queue import FairQueue, Turn
from serve.engine.sequence import Phase, Sequence
from serve.engine.slots import Seniority
from serve.engine.tiered_queue import DUE, gives_way
from serve.engine.turns import Turns
from serve.engine.types import GenerationRequest, Tier


class Line:
    """A queue, in which sequences go by the names of their requests."""

    def __init__(self) -> None:
        self.queue = FairQueue()
        self.sequences: dict[str, list[Sequence]] = {}
        self._arrivals = 0

    def add(self, name: str, caller: str, choices: int = 1, prompt: int = 5) -> list[Sequence]:
        request = GenerationRequest(
            name, [1] * prompt, SamplingParams(), 10, choices, caller=caller
        )
        of = [Sequence(request, choice, self._arrivals + choice) for choice in range(choices)]
        self._arrivals += choices
        self.sequences[name] = of
        for sequence in of:
            self.queue.add(sequence)
        return of

    def turns(self) -> list[str]:
        return [turn.sequence.request.id for turn in self._turns()]

    def seat_next(self) -> str:
        sequence = next(self._turns()).sequence
        self.queue.seat(sequence)
        return sequence.request.id

    def _turns(self):
        return self.queue.turns(lambda each: len(each.tokens))


def test_a_caller_waits_from_when_it_has_something_waiting():
    line = Line()
    for name in "ab":
        line.add(name, name)
        line.seat_next()
    # Both have a row, a for longer; b is the first to want another.
    line.add("b2", "b")
    line.add("a2", "a")
    assert line.turns() == ["b2", "a2"]


def test_who_loses_a_row_comes_before_its_equals():
    line = Line()
    first = line.add("a", "a", choices=2)
    second = line.add("b", "b", choices=2)
    for sequence in (first[0], *second):
        line.queue.seat(sequence)
    line.queue.put_back(second[1])
    assert line.turns() == ["b", "a"]


def test_of_what_was_put_back_the_oldest_comes_first():
    line = Line()
    old, young = line.add("old", "a")[0], line.add("young", "a")[0]
    line.add("new", "a", prompt=1)
    for sequence in (old, young):
        line.queue.seat(sequence)
    for sequence in (young, old):
        line.queue.put_back(sequence)
    assert line.turns() == ["old", "young", "new"]


def test_of_a_callers_requests_the_shortest_is_next_but_the_first_is_passed_over_only_once():
    line = Line()
    line.add("long", "a", prompt=50)
    for number in range(4):
        line.add(f"short {number}", "a", prompt=20 - number)
    order = [line.seat_next() for _ in range(5)]
    assert order == ["short 3", "long", "short 2", "short 0", "short 1"]


def test_a_request_with_a_row_comes_after_one_without():
    line = Line()
    line.queue.seat(line.add("short", "a", choices=2, prompt=1)[0])
    line.add("long", "a", prompt=50)
    assert line.turns() == ["long", "short"]


def test_who_has_had_a_turn_comes_after_those_who_have_as_many_rows():
    line = Line()
    seated = line.add("c", "c", choices=2)[0]
    line.add("a", "a", choices=2)
    line.queue.seat(seated)
    assert line.turns() == ["a", "c", "a"]


def test_of_very_many_requests_with_rows_the_one_with_fewest_is_found():
    line = Line()
    for number in range(40):
        for sequence in line.add(f"{number}", "a", choices=3)[: 1 if number == 39 else 2]:
            line.queue.seat(sequence)
    assert line.turns()[0] == "39"


def prompts(line: Line) -> Turns:
    return Turns(4, line.queue.rows)


def left(*sequences: Sequence) -> dict[Sequence, int]:
    return {each: len(each.tokens) for each in sequences}


def test_an_answer_that_was_put_back_is_computed_before_a_shorter_prompt():
    line = Line()
    back, new = line.add("back", "a", prompt=50)[0], line.add("new", "a", prompt=3)[0]
    line.queue.seat(back)
    back.sampled = 1
    line.queue.put_back(back)
    assert prompts(line).order(left(new, back)) == [back, new]


def test_a_prompt_that_has_begun_does_not_count_against_its_caller():
    line = Line()
    begun = line.add("begun", "a", prompt=50)[0]
    line.queue.seat(begun)
    begun.phase = Phase.PREFILLING
    line.queue.seat(line.add("decodes", "b")[0])
    waits = line.add("waits", "b", prompt=3)[0]
    assert prompts(line).order(left(waits, begun)) == [begun, waits]


def test_a_due_prompt_of_a_higher_tier_is_not_forgotten_for_one_of_a_lower():
    """Short prompts of priority keep coming before a long one, while one of flex is due already."""
    line = Line()
    flex, long, *short = (line.add(name, "a")[0] for name in ("flex", "long", "0", "1", "2", "3"))
    order = prompts(line)

    def step(*sequences: Sequence) -> Sequence:
        for each in sequences:
            each.standing = Tier.FLEX if each is flex else Tier.PRIORITY
        sizes = {each: 50 if each is long else 5 for each in sequences}
        first = order.order(sizes)[0]
        order.taken([first])
        return first

    # Those of flex are among themselves first: it is passed over, and so due among its equals.
    other = line.add("other", "a")[0]
    other.standing = Tier.FLEX
    order.order({flex: 50, other: 5})
    order.taken([other])
    assert [step(flex, long, each) for each in short] == [short[0], long, short[2], long]


def test_a_lower_tier_gives_way_and_all_but_priority_to_who_is_due():
    line = Line()
    waits, runs = line.add("waits", "a")[0], line.add("runs", "b")[0]
    taken: dict[tuple[Tier, bool, Tier], bool] = {}
    for tier in Tier:
        for due in (False, True):
            for of in Tier:
                waits.request = replace(waits.request, tier=tier)
                waits.standing, runs.standing = DUE if due else tier, of
                taken[tier, due, of] = gives_way(Seniority(of, 1, 1, runs), Turn(0, 5, waits))
    wanted = {(tier, due, of): of > (1 if due else tier) for tier, due, of in taken}
    assert taken == wanted
