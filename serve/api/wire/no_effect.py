"""Fields that other servers answer with or take, and that change nothing here.

Clients send answers back as they came, with whatever another server put into them. Such a field is
accepted where its meaning is clear, and marked, so that the response can name it: nothing is
ignored in silence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from serve.api.wire.faults import path_of
from serve.api.wire.most import Most
from serve.api.wire.strict import Strict
from serve.api.wire.validators import kind

# What is echoed is not looked into; more members than any server writes.
_MOST_MEMBERS = 64
_MOST_ENTRIES = 1_024

# Values that say nothing: a field that has one is as good as absent.
_NOTHING = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class NoEffect:
    """Marks a field; the OpenAPI document says it too."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The field's schema, with what the mark means."""
        return {**handler(schema), "description": "Accepted, and changes nothing."}


class CacheControl(Strict):
    """Where another server is to keep a prompt's beginning; here all of them are kept."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


_Echo = Annotated[dict[str, Any], Most(_MOST_MEMBERS)]

CacheMark = Annotated[CacheControl | None, NoEffect()]
EchoedObject = Annotated[_Echo | None, NoEffect()]
EchoedList = Annotated[
    Annotated[list[_Echo], Most(_MOST_ENTRIES)] | None,
    NoEffect(),
]
EchoedValue = Annotated[object, NoEffect()]
_Annotation = Annotated[
    _Echo,
    kind("type", ["url_citation"]),
    WithJsonSchema(
        {
            "title": "Annotation",
            "type": "object",
            "properties": {"type": {"type": "string", "const": "url_citation"}},
            "required": ["type"],
            "additionalProperties": True,
            "maxProperties": _MOST_MEMBERS,
        }
    ),
]
Annotations = Annotated[Annotated[list[_Annotation], Most(_MOST_ENTRIES)] | None, NoEffect()]


def marked_fields(value: object, at: tuple[int | str, ...]) -> Iterator[str]:
    """Paths of the marked fields that say something, of an object and of those below it.

    Args:
        value: an object of the wire, or a list of some; anything else has no fields.
        at: where it is.
    """
    if isinstance(value, list):
        for index, member in enumerate(cast("list[object]", value)):
            yield from marked_fields(member, (*at, index))
    elif isinstance(value, Strict):
        for name, field in type(value).model_fields.items():
            inner, place = getattr(value, name), (*at, name)
            if not any(isinstance(mark, NoEffect) for mark in field.metadata):
                yield from marked_fields(inner, place)
            elif inner not in _NOTHING:
                yield path_of(place)
