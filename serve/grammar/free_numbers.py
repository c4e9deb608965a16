"""How long a number may be where a schema leaves that free: as many digits as a double tells apart.

The library takes any row of digits for a number, and a model may write them without an end. So
an answer is held to a second grammar beside its schema's: that of any JSON whose numbers end.
Whatever may begin under both has an end under both; `with_bounded_multiples` and
`equivalents.equivalent` see to the numbers of which that would not be so.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from serve.grammar.places import objects, rebuilt

# Of 17 digits no two doubles have the same (IEEE 754-2019, section 5.12.2).
_SIGNIFICANT = 17
_LEAST, _GREATEST = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
BOUNDS = (*_LEAST, *_GREATEST)
# Of a bound in steps: the step nearest to it that it lets in.
_COUNTS: Mapping[str, Callable[[Fraction], int]] = {
    "minimum": math.ceil,
    "maximum": math.floor,
    "exclusiveMinimum": lambda steps: math.floor(steps) + 1,
    "exclusiveMaximum": lambda steps: math.ceil(steps) - 1,
}
# Below, doubles lie so far apart that few digits tell them from their neighbours.
_COARSE = sys.float_info.min / sys.float_info.epsilon
# The library looks for a multiple among so many remainders, whatever digits have been written.
_MOST_REMAINDERS = 5_000
# Strings of any kind: what they may be is for the schema to say.
_JSON = r"""
value: object | array | STRING | NUMBER | "true" | "false" | "null"
object: "{{" (member (COMMA member)*)? "}}"
member: STRING COLON value
array: "[" (value (COMMA value)*)? "]"
COMMA: /, ?/
COLON: /: ?/
STRING: /"([^"\\]|\\.)*"/
NUMBER: {number}
"""


@dataclass(frozen=True, slots=True)
class Digits:
    """How many digits numbers may have: all that a double may be written with by `JSON.stringify`
    and by Python, and all that a schema's own numbers have.

    Attributes:
        significant: from the first that is not 0.
        zeros: between the point and the first significant one.
        whole: before the point; those after the significant ones are 0.
        endless: whether there may be any number of them before the point all the same.
        never: regular expressions of spellings that readers take for a number that a bound leaves
            out.
    """

    significant: int = _SIGNIFICANT
    zeros: int = 6
    whole: int = 21
    endless: bool = False
    never: frozenset[str] = frozenset()

    def __or__(self, other: "Digits") -> "Digits":
        """As many as either has."""
        return Digits(
            max(self.significant, other.significant),
            max(self.zeros, other.zeros),
            max(self.whole, other.whole),
            self.endless or other.endless,
            self.never | other.never,
        )

    def any_json(self, root: str = "value") -> str:
        """A grammar in Lark: any JSON with numbers of so many digits.

        Args:
            root: `value`, or `object`.
        """
        most, zeros, more = self.significant, self.zeros, self.whole - self.significant
        below_1 = rf"0(\.(0{{0,{zeros}}}[1-9][0-9]{{0,{most - 1}}}|0{{1,{zeros + 1}}}))?"
        # Where it knows a bound, the library goes on from -0 to a last digit that is no 0: there
        # has to be room for one.
        from_0 = rf"-0(\.(0{{0,{zeros}}}[1-9]([0-9]{{0,{most - 2}}}[1-9])?|0{{1,{zeros}}}))?"
        others = [rf"/[1-9][0-9]*(\.[0-9]+)?/ & /([0-9]\.?){{1,{most}}}/"]
        others += [rf"/[1-9][0-9]{{{most - 1}}}0{{1,{more}}}/"] if more > 0 else []
        others += [rf"/[1-9][0-9]*(\.[0-9]{{1,{most}}})?/"] if self.endless else []
        either = " | ".join(f"({each})" for each in others)
        number = rf'(/{below_1}|{from_0}/ | "-"? ({either})) /([eE][+\-]?[0-9]{{1,3}})?/'
        if self.never:
            number = f"({number}) & ~/-?({'|'.join(sorted(self.never))})/"
        return f"start: {root}\n" + _JSON.format(number=number).lstrip()


def digits_of(schema: Any) -> Digits:
    """What the numbers of a schema ask for that are in `const`, `enum`, bounds and `multipleOf`."""
    found = Digits()
    for _, fields in objects(schema):
        own = [fields[name] for name in ("const", "enum", *BOUNDS) if name in fields]
        found |= digits_for(numbers_in(own))
        if fields.get("exclusiveMaximum", 0) > 0:
            found |= Digits(never=frozenset(_mistaken_for(fields["exclusiveMaximum"])))
        if fields.get("exclusiveMinimum", 0) < 0:
            found |= Digits(never=frozenset(_mistaken_for(-fields["exclusiveMinimum"])))
        if "multipleOf" in fields:
            places = _places(fields["multipleOf"])
            found |= Digits(endless=not (_has(fields, _LEAST) and _has(fields, _GREATEST)))
            greatest = max((abs(fields[name]) for name in BOUNDS if name in fields), default=0)
            whole = len(str(max(math.ceil(greatest) - 1, 0)))
            found |= Digits(whole + places, places)
    return found


def numbers_in(value: object) -> Iterator[float]:
    """The numbers that a value is or holds."""
    match value:
        case bool():
            return
        case int() | float():
            yield value
        case list():
            for each in cast("list[object]", value):
                yield from numbers_in(each)
        case dict():
            yield from numbers_in(list(cast("dict[str, object]", value).values()))
        case _:
            pass


def digits_for(numbers: Iterable[float]) -> Digits:
    """What it takes to write these numbers."""
    found = Digits()
    for number in numbers:
        found |= _written(number)
    return found


def with_bounded_multiples(schema: Any) -> Any:
    """The schema, where multiples of something are between two of them.

    Without bounds the first digits would leave no room for the last ones, without which it is no
    multiple; where the library cannot tell the two apart it goes without. And of bounds with more
    digits than multiples have the library sees too late what they leave out.
    """
    if not isinstance(schema, dict):
        return schema
    given = rebuilt(cast("Mapping[str, Any]", schema), with_bounded_multiples)
    if "multipleOf" not in given:
        return given
    fields = {name: value for name, value in given.items() if name not in BOUNDS}
    step = _exact(fields["multipleOf"])
    bounds = {name: _exact(given[name]) for name in BOUNDS if name in given}
    counts = {name: _COUNTS[name](bound / step) for name, bound in bounds.items()}
    if _remainders(fields["multipleOf"]) <= _MOST_REMAINDERS:
        room = 10 ** max(_SIGNIFICANT - _places(fields["multipleOf"]), 0)
        most = max([room, *(10 * abs(bound) for bound in bounds.values())]) // step
        if not _has(counts, _LEAST):
            counts["minimum"] = -most
        if not _has(counts, _GREATEST):
            counts["maximum"] = most
    least = [counts[name] for name in _LEAST if name in counts]
    greatest = [counts[name] for name in _GREATEST if name in counts]
    if least and greatest and max(least) > min(greatest):
        return given  # For the library to say.
    fields |= {"minimum": _number(max(least) * step)} if least else {}
    return fields | ({"maximum": _number(min(greatest) * step)} if greatest else {})


def _exact(number: float) -> Fraction:
    return Fraction(str(number))


def _number(exact: Fraction) -> float:
    return exact.numerator if exact.denominator == 1 else float(exact)


def _has(schema: Mapping[str, Any], names: Iterable[str]) -> bool:
    return any(name in schema for name in names)


def _remainders(number: float) -> int:
    return _exact(number) * 10 ** _places(number) // 1


def _written(number: float) -> Digits:
    """The digits of a number that is written without an exponent."""
    whole, _, fraction = format(Decimal(str(number)).copy_abs(), "f").partition(".")
    zeros = len(fraction) - len(fraction.lstrip("0")) if whole == "0" else 0
    return Digits(len((whole + fraction).strip("0")), zeros, len(whole))


def _mistaken_for(bound: float) -> Iterator[str]:
    """What is written below a bound above 0 and read as the bound: 9.9999999999999999 for 10."""
    if bound < _COARSE:
        return
    exact = Decimal(str(bound))
    step = Decimal(1).scaleb(exact.next_minus().adjusted() - _SIGNIFICANT + 1)
    below = exact - step
    while float(below) == bound:
        whole, point, fraction = format(below, "f").partition(".")
        yield whole + (rf"\.{fraction.rstrip('0')}0*" if point else "")
        below -= step


def _places(number: float) -> int:
    """How many digits a number has behind the point."""
    return max(-cast("int", Decimal(str(number)).normalize().as_tuple().exponent), 0)
