"""The first thing that is wrong with a request, out of what pydantic finds.

Its findings, ours or its own, become an `ApiError` with the right path and code. Knows nothing
of particular fields.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo, kind_of, path_of

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "wrong_type": "",
}


def first_fault(error: ValidationError) -> ApiError:
    """The first thing that is wrong with a request."""
    details = error.errors(include_url=False)[0]
    context: Mapping[str, Any] = details.get("ctx", {})
    path = path_of(details["loc"])
    if context.get("at"):
        path = f"{path}.{context['at']}" if path else context["at"]
    code, message = _describe(details, context, path)
    return invalid(code, message, path or None)


def _describe(details: ErrorDetails, context: Mapping[str, Any], path: str) -> tuple[str, str]:
    kind, value = details["type"], details["input"]
    if kind == "missing" or kind == "missing_required_parameter":
        return "missing_required_parameter", f"Missing required parameter: '{path}'."
    if kind in ("extra_forbidden", "unknown_parameter"):
        return "unknown_parameter", f"Unknown parameter: '{path}'."
    if kind in _EXPECTED:
        if context.get("at"):
            value = value[context["at"]]
        return _wrong_type(context.get("expected") or _EXPECTED[kind], value, path)
    if kind == "unsupported_parameter":
        return kind, f"Unsupported parameter: '{path}'. {context['text']}"
    if context.get("ours"):
        return kind, context["text"]
    if kind == "literal_error":
        if not isinstance(value, str):
            return _wrong_type("a string", value, path)
        return "invalid_value", (
            f"Invalid value: {echo(value)}. Supported values are: {context['expected']}."
        )
    if kind in ("greater_than_equal", "less_than_equal"):
        return _out_of_range(kind, value, context, path)
    if kind in ("too_long", "too_short", "string_too_long", "string_too_short"):
        return _wrong_length(kind, value, context, path)
    return "invalid_value", f"Invalid '{path}': {details['msg']}."


def _wrong_type(expected: str, value: object, path: str) -> tuple[str, str]:
    where = f"for '{path}'" if path else "of the request body"
    return "invalid_type", (
        f"Invalid type {where}: expected {expected}, but got {kind_of(value)} instead."
    )


def _out_of_range(
    kind: str, value: object, context: Mapping[str, Any], path: str
) -> tuple[str, str]:
    below = kind == "greater_than_equal"
    limit = context["ge" if below else "le"]
    number = "integer" if isinstance(limit, int) else "decimal"
    side, name, sign = ("below", "min", ">=") if below else ("above", "max", "<=")
    return f"{number}_{side}_{name}_value", (
        f"Invalid '{path}': {number} {side} {name}imum value. Expected a value {sign} "
        f"{limit:g}, but got {echo(value)} instead."
        if number == "decimal"
        else f"Invalid '{path}': {number} {side} {name}imum value. Expected a value {sign} "
        f"{limit}, but got {echo(value)} instead."
    )


def _wrong_length(kind: str, value: Any, context: Mapping[str, Any], path: str) -> tuple[str, str]:
    short = kind.endswith("short")
    limit, given = context["min_length" if short else "max_length"], len(value)
    if isinstance(value, dict):
        return "object_above_max_properties", (
            f"Invalid '{path}': too many properties. Expected an object with at most {limit} "
            f"properties, but got an object with {given} properties instead."
        )
    noun, article = ("string", "a") if isinstance(value, str) else ("array", "an")
    if short:
        return f"empty_{noun}", (
            f"Invalid '{path}': empty {noun}. Expected {article} {noun} with minimum length "
            f"{limit}, but got an empty {noun} instead."
        )
    return f"{noun}_above_max_length", (
        f"Invalid '{path}': {noun} too long. Expected {article} {noun} with maximum length "
        f"{limit}, but got {article} {noun} with length {given} instead."
    )
