"""Schemas said in another way, which the library can enforce exactly where the first it cannot.

Knows nothing of what is refused.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from math import comb
from typing import Any, cast

from serve.grammar.disjoint import are_disjoint
from serve.grammar.places import rebuilt

# Ways to choose the properties that are there; each becomes a branch.
_MOST_CHOICES = 64
# Doubles go on to 5e-324, which the library cannot write out.
_BESIDE_ZERO = 1e-30


def can_be_listed(schema: Mapping[str, Any]) -> bool:
    """Whether the least number of properties can be said by naming those that are there."""
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    listed = schema.get("properties")
    if not closed or not isinstance(listed, dict):
        return False
    free, missing = _choice(schema)
    return comb(len(free), max(missing, 0)) <= _MOST_CHOICES


def equivalent(schema: Any, root: Any = None) -> Any:
    """The schema, where a `oneOf` of branches that cannot both hold is an `anyOf`, a
    `minProperties` beyond what is required a choice of properties, and a number that a bound leaves
    out one beside it that is let in.

    Args:
        schema: a well-formed one, with references that start at the root.
        root: the whole of which it is a part; None for the whole.
    """
    if not isinstance(schema, dict):
        return schema
    given = cast("dict[str, Any]", schema)
    root = given if root is None else root
    fields = _with_next_bounds(rebuilt(given, lambda each: equivalent(each, root)))
    added: list[Any] = []
    if "oneOf" in given and are_disjoint(given["oneOf"], root):
        added.append({"anyOf": fields.pop("oneOf")})
    if "minProperties" in given and can_be_listed(given):
        free, missing = _choice(given)
        if missing > 0:
            del fields["minProperties"]
            ways = combinations(free, missing)
            required = given.get("required", [])
            added.append({"anyOf": [{"required": [*required, *way]} for way in ways]})
    if len(added) == 1 and not {"anyOf", "allOf"} & set(fields):
        return fields | added[0]
    return fields | ({"allOf": [*fields.get("allOf", ()), *added]} if added else {})


def _with_next_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Where the number nearest to 0 is left out, one right beside it is the bound.

    The library takes a whole number in where the other bound is less than 1 away, and of any other
    lets in the digits and zeros that follow, as long as another digit is to come: 0.5000000….
    """
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    kept = dict(schema)
    if low is not None and low >= 0:
        del kept["exclusiveMinimum"]
        kept["minimum"] = max(_above(low), schema.get("minimum", -math.inf))
    if high is not None and high <= 0:
        del kept["exclusiveMaximum"]
        kept["maximum"] = min(-_above(-high), schema.get("maximum", math.inf))
    return kept


def _above(bound: float) -> float:
    """A number above another: the next of 15 digits, and never more than 1 away.

    The library does not read 17 digits exactly: the double after 100 is 100 to it.
    """
    if not bound:
        return _BESIDE_ZERO
    step = Fraction(Decimal(1).scaleb(min(Decimal(str(bound)).adjusted() - 14, 0)))
    above = float((Fraction(str(bound)) // step + 1) * step)
    return above if above > bound else math.nextafter(bound, math.inf)


def _choice(schema: Mapping[str, Any]) -> tuple[list[str], int]:
    """The properties that may be left out, and how many of them have to be there."""
    required = set(schema.get("required", ()))
    free = [name for name in schema["properties"] if name not in required]
    return free, schema["minProperties"] - len(required)
