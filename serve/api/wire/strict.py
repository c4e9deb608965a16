"""The base of all objects of a request."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """No unknown field, no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
