"""What the programs for Python have in common: each tries features, and tells of each in a line.

Its arguments are the server's address, that of one whose model sees, and the features to try, by
the names of their functions.

A line is a JSON object with the `feature`, the `fault` that it ended with or null, and what is
`expected` of it: an object with a `note` where there is something to say, and what is `known` of
its fault where it does not work.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, Field

BASE_URL, SEEING_URL, *_TRIED = sys.argv[1:]

# The bundled model's likeliest answers to these are good ones.
SUM = "What is 7 + 5?"
WEATHER = "What is the weather in Paris?"
WEATHER_FOUND = '{"temperature": 21, "condition": "sunny"}'
PERSON = "Anna is 30 years old."
PERSON_AS_JSON = f'{PERSON}\nAnswer as JSON with this schema: {{"name":"string","age":"integer"}}'

# It always thinks about this one, with this word among its thoughts.
LONG_SUM = "What is 17 plus 25?"
THOUGHT = "carry"

# It refuses none of these by itself. This leaves a strict answer no JSON, and so only a refusal.
NO_JSON = {"bad_words": ["{"]}


class Person(BaseModel):
    """Who a text is about."""

    name: Literal["Anna", "Ben"]
    age: int = Field(ge=0, le=120)


ANNA = Person(name="Anna", age=30)

Feature = Callable[[], None]
_EXPECTED: dict[Feature, dict[str, str]] = {}


def works(note: str) -> Callable[[Feature], Feature]:
    """Marks a feature that works with something to say about it."""
    return _expected(note=note)


def fails(known: str, note: str) -> Callable[[Feature], Feature]:
    """Marks a feature that ends with a fault in which `known` stands; the note says why."""
    return _expected(known=known, note=note)


def _expected(**expected: str) -> Callable[[Feature], Feature]:
    def mark(feature: Feature) -> Feature:
        _EXPECTED[feature] = expected
        return feature

    return mark


def refused(kind: type[Exception], call: Callable[[], object]) -> str:
    """What an error of this kind says, which `call` must end with."""
    try:
        answer = call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no error came, but {answer}")


def report(*features: Feature) -> None:
    """Try those features that were asked for, each a function of its name, and tell of each."""
    for feature in (each for each in features if each.__name__ in _TRIED):
        fault = None
        try:
            feature()
        except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
            traceback.print_exc()
            fault = f"{type(error).__name__}: {error}"
        line = {"feature": feature.__name__, "fault": fault, "expected": _EXPECTED.get(feature, {})}
        print(json.dumps(line), flush=True)
