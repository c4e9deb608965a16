"""Sums, differences, products and small quotients; the working stands in the thought.

Digits are worked through one at a time, from the last to the first: each line needs one small
sum and the carry of the line before.
"""

import random
from collections.abc import Callable

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, Split, fill, in_split, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.tables import table

_PHRASINGS = {name: Phrasings(*lines) for name, lines in table("arithmetic").items()}
EASY = 20
SMALL_RATE = 0.3
DIGITS = (1, 2, 2, 2, 3, 3, 4)


def addition(now: Situation) -> list[Exchange]:
    """A sum of two numbers of up to four digits."""
    small = now.rng.random() < SMALL_RATE
    a, b = _operands(
        now, "+", lambda rng: rng.randint(0, EASY) if small else _number(rng, rng.choice(DIGITS))
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
    return _exchange(now, "multiplication", (a, "*", b), a * b, _product(a, b))


def long_multiplication(now: Situation) -> list[Exchange]:
    """A product of two numbers of two digits."""
    a, b = _operands(now, "*", lambda rng: rng.randint(10, 99))
    return _exchange(now, "two-digit multiplication", (a, "*", b), a * b, _product(a, b))


def division(now: Situation) -> list[Exchange]:
    """A quotient within the tables up to ten."""
    rng = now.rng
    while True:
        a, b = rng.randint(1, 10), rng.randint(1, 10)
        if in_split(f"{a * b}/{b}", now.split):
            return _exchange(now, "division", (a * b, "/", b), a, "")


def _number(rng: random.Random, digits: int) -> int:
    if digits == 1 or rng.random() < 0.1:
        return rng.randint(0, EASY)
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


def added(a: int, b: int) -> str:
    """The working of a sum, a digit a line from the last one."""
    lines, carry = list[str](), 0
    first, second = str(a)[::-1], str(b)[::-1]
    for index in range(max(len(first), len(second))):
        digits = [int(number[index]) for number in (first, second) if index < len(number)]
        terms = digits + ([carry] if carry else [])
        total = sum(terms)
        carry = total // 10
        lines.append(f"{' + '.join(map(str, terms))} = {total}: {total % 10}, carry {carry}")
    return "\n".join([*lines, f"{a} + {b} = {a + b}"])


def _difference(a: int, b: int) -> str:
    if max(a, b) <= EASY and a >= b:
        return ""
    if a < b:
        turned = _difference(b, a) or f"{b} - {a} = {b - a}"
        return f"{a} < {b}, so the answer is below zero.\n{turned}"
    lines, borrowed = list[str](), 0
    first, second = str(a)[::-1], str(b)[::-1]
    for index, top in enumerate(first):
        left = int(top) - borrowed
        right = int(second[index]) if index < len(second) else 0
        note = f"{top} - 1 = {left}, " if borrowed else ""
        borrowed = int(left < right)
        shown = left + 10 * borrowed
        lines.append(f"{note}{shown} - {right} = {shown - right}, borrow {borrowed}")
    return "\n".join([*lines, f"{a} - {b} = {a - b}"])


def _product(a: int, b: int) -> str:
    """Digit by digit: each part of one times each part of the other, and their running sum."""
    if max(a, b) <= 10:
        return ""
    parts = [(one, two) for two in _places(b) for one in _places(a)]
    lines = [f"{one} * {two} = {one * two}" for one, two in parts]
    total = parts[0][0] * parts[0][1]
    for one, two in parts[1:]:
        lines.append(f"{total} + {one * two} = {total + one * two}")
        total += one * two
    return "\n".join(lines)


def _places(number: int) -> list[int]:
    """Its parts by place, from the first: 347 is 300, 40 and 7."""
    text = str(number)
    found = [int(digit) * 10 ** (len(text) - 1 - at) for at, digit in enumerate(text)]
    return [value for value in found if value] or [0]
