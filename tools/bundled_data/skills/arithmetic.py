"""Sums, differences, products and small quotients; the working stands in the thought.

Places are worked through one at a time, from the last to the first: each line needs small sums
and products, and the carry of the line before.
"""

import random
from collections.abc import Callable, Iterator
from itertools import zip_longest

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, Split, fill, in_split, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.tables import table

_PHRASINGS = {name: Phrasings(*lines) for name, lines in table("arithmetic").items()}
SMALL = 20
EASY = 10
SMALL_RATE = 0.3
DIGITS = (1, 2, 2, 2, 3, 3, 4)


def addition(now: Situation) -> list[Exchange]:
    """A sum of two numbers of up to four digits."""
    small = now.rng.random() < SMALL_RATE
    a, b = _operands(
        now, "+", lambda rng: rng.randint(0, SMALL) if small else _number(rng, rng.choice(DIGITS))
    )
    thought = "" if max(a, b) <= EASY else added(a, b)
    return _exchange(now, "addition", (a, "+", b), a + b, thought)


def subtraction(now: Situation) -> list[Exchange]:
    """A difference of two numbers of up to four digits, now and then below zero."""
    a, b = _operands(now, "-", lambda rng: _number(rng, rng.choice(DIGITS)))
    if a < b and now.rng.random() < 0.8:
        a, b = b, a
    return _exchange(now, "subtraction", (a, "-", b), a - b, _difference(a, b))


def multiplication(now: Situation) -> list[Exchange]:
    """A product of numbers of which at least one has one digit."""
    a, b = _operands(now, "*", lambda rng: _number(rng, rng.choice((1, 1, 2, 3))))
    if min(a, b) > 9:
        b %= 10
    if now.rng.random() < 0.3:
        a, b = b, a
    return _exchange(now, "multiplication", (a, "*", b), a * b, multiplied(a, b))


def long_multiplication(now: Situation) -> list[Exchange]:
    """A product of two numbers of two digits."""
    a, b = _operands(now, "*", lambda rng: rng.randint(10, 99))
    return _exchange(now, "two-digit multiplication", (a, "*", b), a * b, multiplied(a, b))


def division(now: Situation) -> list[Exchange]:
    """A quotient of up to twenty without a rest, mostly within the tables up to ten."""
    rng = now.rng
    while True:
        most = 10 if rng.random() < 0.6 else 20
        a, b = rng.randint(1, most), rng.randint(1, most)
        if in_split(f"{a * b}/{b}", now.split):
            return _exchange(now, "division", (a * b, "/", b), a, _taken_away(a, b))


def _number(rng: random.Random, digits: int) -> int:
    if digits == 1 or rng.random() < 0.1:
        return rng.randint(0, SMALL)
    return rng.randint(10 ** (digits - 1), 10**digits - 1)


def _operands(now: Situation, sign: str, number: Callable[[random.Random], int]) -> tuple[int, int]:
    """Two numbers whose pair belongs to the split; the smallest are practised all."""
    while True:
        a, b = number(now.rng), number(now.rng)
        if max(a, b) <= 10:
            if now.split is Split.TRAIN:
                return a, b
        elif in_split(f"{a}{sign}{b}", now.split):
            return a, b


def _exchange(
    now: Situation, skill: str, asked: tuple[int, str, int], result: int, thought: str
) -> list[Exchange]:
    a, sign, b = asked
    template = roughen(now.rng, _PHRASINGS[_NAMES[sign]].draw(now.rng, now.split))
    user = fill(template, {"a": str(a), "b": str(b)})
    answer = f"{a} {sign} {b} = {result}"
    judge = exactly(answer, str(result))
    return [Exchange(skill, user, answer, judge, thought, bool(thought), str(result))]


_NAMES = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}


def _columns(a: int, b: int) -> Iterator[tuple[int, int]]:
    """The digits that stand above each other, from the last; 0 where a number has no more."""
    pairs = zip_longest(reversed(str(a)), reversed(str(b)), fillvalue="0")
    return ((int(one), int(two)) for one, two in pairs)


def added(a: int, b: int) -> str:
    """The working of a sum, a digit a line from the last one."""
    lines, carry = list[str](), 0
    for one, two in _columns(a, b):
        total = one + two + carry
        line = f"{one} + {two} + {carry} = {total}: {total % 10}, carry {total // 10}"
        lines.append(line)
        carry = total // 10
    return "\n".join([*lines, f"{a} + {b} = {a + b}"])


def _difference(a: int, b: int) -> str:
    if max(a, b) <= EASY and a >= b:
        return ""
    if a < b:
        turned = _difference(b, a) or f"{b} - {a} = {b - a}"
        return f"{a} < {b}, so the answer is below zero.\n{turned}"
    lines, borrow = list[str](), 0
    for one, two in _columns(a, b):
        rest = one - two - borrow
        line = f"{one} - {two} - {borrow} = {rest}: {rest % 10}, borrow {int(rest < 0)}"
        lines.append(line)
        borrow = int(rest < 0)
    return "\n".join([*lines, f"{a} - {b} = {a - b}"])


def multiplied(a: int, b: int) -> str:
    """The working of a product, a place a line from the last one; nothing up to ten times ten.

    In each line: the products of the digits that belong to the place, and their running sum. Sums
    of whole parts (1400 + 630) would have to know of carries that come later.
    """
    if max(a, b) <= EASY:
        return ""
    ones, twos = ([int(digit) for digit in reversed(str(number))] for number in (a, b))
    lines, carry = list[str](), 0
    for place in range(len(ones) + len(twos) - 1):
        pairs = [
            (ones[at], twos[place - at]) for at in range(len(ones)) if 0 <= place - at < len(twos)
        ]
        products = [one * two for one, two in pairs]
        steps = [f"{one} * {two} = {one * two}" for one, two in pairs]
        total = products[0]
        for more in (*products[1:], carry):
            steps.append(f"{total} + {more} = {total + more}")
            total += more
        lines.append(f"{', '.join(steps)}: {total % 10}, carry {total // 10}")
        carry = total // 10
    return "\n".join([*lines, f"{a} * {b} = {a * b}"])


def _taken_away(a: int, b: int) -> str:
    """How a times b becomes zero by taking away b.

    It ends at zero, whatever was asked; multiples would have to be compared with that.
    """
    return "\n".join(
        f"{time}: {(a + 1 - time) * b} - {b} = {(a - time) * b}" for time in range(1, a + 1)
    )
