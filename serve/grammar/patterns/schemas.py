"""Where schemas have patterns, and schemas with their patterns as the library is to have them."""

from collections.abc import Mapping
from typing import Any, cast

from serve.grammar.patterns.translate import translate
from serve.grammar.patterns.tree import PatternError
from serve.grammar.places import rebuilt


def spelled(keyword: str, value: Any) -> Any:
    """The value of a keyword, its patterns in the dialect of the library.

    Raises:
        PatternError: a pattern is malformed, or cannot be enforced.
    """
    if keyword == "pattern":
        return translate(value)
    if keyword != "patternProperties":
        return value
    named: dict[str, Any] = {}
    for pattern, each in value.items():
        try:
            # A name that a pattern failed to match would be that of another member.
            name = translate(pattern, exact=True)
            if name in named:
                raise PatternError(0, "another pattern matches the same names")  # noqa: TRY301
        except PatternError as error:
            shown = pattern if len(pattern) <= 64 else pattern[:64] + "…"
            raise PatternError(error.position, f"{error.reason}; in '{shown}'") from error
        named[name] = each
    return named


def with_patterns_spelled(schema: Any) -> Any:
    """A schema whose patterns are all translatable, with them in the dialect of the library."""
    if not isinstance(schema, dict):
        return schema
    fields = rebuilt(cast("Mapping[str, Any]", schema), with_patterns_spelled)
    return {name: spelled(name, value) for name, value in fields.items()}
