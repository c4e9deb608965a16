"""The base of all objects of a request."""

from typing import Any, cast

from pydantic import BaseModel, ConfigDict, model_validator

from serve.api.wire.faults import fault, path_of


class Strict(BaseModel):
    """No unknown field, no conversion between types.

    An object with more keys than there are fields has an unknown one, and is not looked into any
    further: pydantic would report each.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_no_more_keys_than_fields(cls, value: object) -> object:
        fields = cls.model_fields
        if isinstance(value, dict) and len(value) > len(fields):
            known = {field.alias or name for name, field in fields.items()}
            keys = cast("dict[str, Any]", value)
            unknown = next(key for key in keys if key not in known)
            raise fault("unknown_parameter", at=path_of((unknown,)))
        return cast("object", value)
