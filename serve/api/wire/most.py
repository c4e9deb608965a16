"""How many members an array or an object of the wire may have.

Pydantic looks at members before it counts them, and reports each that is wrong. A body of a few
megabytes has a million, so they are counted first, and in arrays the first wrong one is the last
that is looked at. Knows nothing of particular fields.
"""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


@dataclass(frozen=True, slots=True)
class Most:
    """Stands beside `list[…]` or `dict[…]` in `Annotated`; the OpenAPI document shows the bound.

    Attributes:
        members: that the array or the object may have.
    """

    members: int

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The schema of the shape with the bound before it."""
        schema: Any = handler(source)
        counted = schema
        while counted["type"] not in ("list", "dict"):
            counted = counted["schema"]
        counted["max_length"] = self.members
        if counted["type"] == "list":
            counted["fail_fast"] = True
        kind = list if counted["type"] == "list" else dict

        def check(value: object) -> object:
            if isinstance(value, kind):
                self._check(value)
            return value

        return core_schema.no_info_before_validator_function(check, schema)

    def _check(self, value: Sized) -> None:
        if len(value) > self.members:
            limits = {"max_length": self.members, "actual_length": len(value)}
            raise PydanticKnownError("too_long", {"field_type": "Value", **limits})
