"""What answers must be and must not hold, in the names that other servers have for it.

The forms of `guided_…` and `structured_outputs` are vLLM's. Knows nothing of how they are held.
"""

from collections.abc import Mapping
from typing import Annotated

from annotated_types import MaxLen, MinLen
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from serve.api.wire.faults import TAG, fault
from serve.api.wire.json_schema import JsonSchema
from serve.api.wire.most import Most
from serve.api.wire.response_format import TextFormat
from serve.api.wire.strict import Strict
from serve.api.wire.validators import later

# So many alternatives, and as long ones, still are one grammar; its bytes are bounded with others'.
MOST_TEXTS = 1_024
LONGEST_TEXT = 1_024
# Each is looked for in every token of the vocabulary, and followed in every answer.
MOST_BAD_WORDS = 128
LONGEST_BAD_WORD = 64

# What stands for bytes that are no text: no answer has bytes of its own for it.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def _tag_of_schema(value: object) -> str:
    return TAG + ("string" if isinstance(value, str) else "object")


def _string_or_object(value: object) -> object:
    if not isinstance(value, str | dict):
        raise fault("wrong_type", expected="an object or a string")
    return value


def _spelled(word: str) -> str:
    if _REPLACEMENT in word:
        raise fault(
            "invalid_value",
            "U+FFFD cannot be banned: it stands for whatever bytes are no text. Leave it out.",
        )
    return word


# A schema, or the text of one.
GuidedJson = Annotated[
    Annotated[JsonSchema, Tag(TAG + "object")] | Annotated[str, MinLen(1), Tag(TAG + "string")],
    Discriminator(_tag_of_schema),
    BeforeValidator(_string_or_object),
]
GuidedText = Annotated[str, MinLen(1)]
GuidedChoice = Annotated[list[Annotated[str, MaxLen(LONGEST_TEXT)]], MinLen(1), Most(MOST_TEXTS)]
BadWords = Annotated[
    list[Annotated[str, MinLen(1), MaxLen(LONGEST_BAD_WORD), AfterValidator(_spelled)]],
    Most(MOST_BAD_WORDS),
]


class StructuredOutputs(Strict):
    """One form that the answer must have, and options of other servers' ways to hold it.

    JSON never has white space between its tokens, and there is one way to hold answers: both
    values of `disable_any_whitespace` and `disable_fallback` ask for what is done anyway.
    """

    definition: GuidedJson | None = Field(default=None, alias="json")
    regex: GuidedText | None = None
    choice: GuidedChoice | None = None
    grammar: GuidedText | None = None
    json_object: bool | None = None
    disable_any_whitespace: bool | None = None
    disable_fallback: bool | None = None
    disable_additional_properties: Annotated[object, *later(False)] = None
    whitespace_pattern: Annotated[object, *later()] = None
    structural_tag: Annotated[object, *later()] = None

    @model_validator(mode="after")
    def _has_one_form(self) -> "StructuredOutputs":
        forms = {
            "json": self.definition,
            "regex": self.regex,
            "choice": self.choice,
            "grammar": self.grammar,
            "json_object": self.json_object or None,
        }
        check_one_form(forms)
        if all(form is None for form in forms.values()):
            names = ", ".join(f"'{name}'" for name in forms)
            raise fault("invalid_value", f"It says nothing of the answer: send one of {names}.")
        return self


def check_one_form(forms: Mapping[str, object]) -> None:
    """At most one of the fields says what the answer must be.

    Args:
        forms: name → value of each field that can; null and text leave the answer free.

    Raises:
        PydanticCustomError: more than one does.
    """
    given = [
        name
        for name, form in forms.items()
        if form is not None and not isinstance(form, TextFormat)
    ]
    if len(given) > 1:
        names = " and ".join(f"'{name}'" for name in given)
        raise fault(
            "invalid_value",
            f"{names} each say what the answer must be: send one of them.",
            at=given[1],
        )
