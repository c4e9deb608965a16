"""What a client expects the answer to be."""

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Tag, model_validator

from serve.api.wire.faults import TAG, fault
from serve.api.wire.messages import MOST_PARTS, TextOnlyPart
from serve.api.wire.most import Most
from serve.api.wire.strict import Strict
from serve.api.wire.validators import kind, string_or_array

_Content = Annotated[
    Annotated[str, Tag(TAG + "string")]
    | Annotated[list[TextOnlyPart], MinLen(1), Most(MOST_PARTS), Tag(TAG + "array")],
    *string_or_array("text parts"),
]


class PredictedContent(Strict):
    """A text that is expected."""

    type: Literal["content"]
    content: _Content

    @model_validator(mode="after")
    def _says_something(self) -> "PredictedContent":
        if not self.text:
            raise fault(
                "empty_string",
                "It has no text. Send what the answer is expected to say, or leave "
                "'prediction' out.",
                at="content",
            )
        return self

    @property
    def text(self) -> str:
        """The text, joined where it came in parts."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


Prediction = Annotated[PredictedContent, kind("type", ["content"])]
