"""What a request says of the search that comes before its answer."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MaxLen
from pydantic import AfterValidator

from serve.api.wire.faults import fault
from serve.api.wire.strict import Strict
from serve.api.wire.validators import kind, one_of

ContextSize = Literal["low", "medium", "high"]
# Names of places are shorter.
_LONGEST_NAME = 256

# As the list of timezones writes them; the machine may have no list.
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")

_Name = Annotated[str, MaxLen(_LONGEST_NAME)]


def _of_two_letters(value: str) -> str:
    if not (len(value) == 2 and value.isascii() and value.isalpha()):
        raise fault("invalid_value", "A country is its code of two letters (ISO 3166), like 'US'.")
    return value


def _zone(value: str) -> str:
    if not _ZONE.fullmatch(value):
        raise fault("invalid_value", "A timezone is the name of one (IANA), like 'Europe/Berlin'.")
    return value


class Place(Strict):
    """About where somebody is."""

    city: _Name | None = None
    country: Annotated[_Name, AfterValidator(_of_two_letters)] | None = None
    region: _Name | None = None
    timezone: Annotated[_Name, AfterValidator(_zone)] | None = None


class UserLocation(Strict):
    """Where the user is, for results that depend on it."""

    type: Literal["approximate"]
    approximate: Place


class WebSearchOptions(Strict):
    """Search for the answer."""

    search_context_size: Annotated[ContextSize, one_of(["low", "medium", "high"])] | None = None
    user_location: Annotated[UserLocation, kind("type", ["approximate"])] | None = None


@dataclass(frozen=True, slots=True)
class CitedSource:
    """What an answer may cite."""

    title: str
    url: str
