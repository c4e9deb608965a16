"""The schemas of `fixtures/schemas`, and a second opinion on what is valid under them."""

import json
from decimal import Decimal, localcontext
from math import isfinite
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_FILES = sorted((Path(__file__).parents[1] / "fixtures" / "schemas").glob("*.json"))
SCHEMAS: dict[str, list[Any]] = {file.stem: json.loads(file.read_text()) for file in _FILES}


def validate(schema: Any, answer: str | bytes) -> None:
    """Check an answer. In decimals: in doubles 0.7 is no multiple of 0.1.

    Raises:
        ValidationError: the answer is not valid under the schema.
        ValueError: it is not JSON.
    """
    exact = json.loads(json.dumps(schema), parse_float=_decimal)
    # Digits enough for the remainder of the largest double by the smallest step.
    with localcontext(prec=700):
        Draft202012Validator(exact).validate(
            json.loads(answer, parse_float=_decimal, parse_int=_integer)
        )


def _decimal(text: str) -> Decimal | float:
    # Digits without end, or exponents beyond those of doubles, are far from any border.
    exact = len(text) < 20 and isfinite(float(text))
    return Decimal(text) if exact else float(text)


def _integer(text: str) -> int:
    # Python itself reads no more than 4,300 digits.
    return int(Decimal(text))
