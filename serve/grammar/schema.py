"""JSON schemas of strangers to constraints: every keyword enforced, refused, or left by choice.

A strict schema is enforced exactly or refused with the path of what cannot be. Of any other
schema, what cannot be enforced is taken out. Knows nothing of HTTP.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from serve.engine.types import Constraint
from serve.grammar.compiler import Compilation, Grammar, check_size
from serve.grammar.endless import without_endless
from serve.grammar.equivalents import can_be_listed, equivalent
from serve.grammar.free_numbers import (
    BOUNDS,
    Digits,
    digits_for,
    digits_of,
    numbers_in,
    with_bounded_multiples,
)
from serve.grammar.keywords import FORMATS, KEYWORDS, Keyword
from serve.grammar.library import GrammarError, in_words
from serve.grammar.one_spelling import with_one_spelling
from serve.grammar.patterns.schemas import spelled, with_patterns_spelled
from serve.grammar.patterns.tree import PatternError
from serve.grammar.places import with_local_references
from serve.grammar.schema_error import Path, SchemaError
from serve.grammar.strangers import without_strangers
from serve.grammar.together import Together
from serve.grammar.values import check_value, inexact, list_of

# Keywords without which a schema still says what it is about; those first that are dear to follow
# and say the least.
_REMOVABLE = (
    *("pattern", "format", "multipleOf", "minLength", "maxLength", "minItems", "maxItems"),
    *("minProperties", "maxProperties", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "patternProperties", "oneOf", "allOf"),
)
_MOST_REMOVALS = 16
_REMEDY = "leave it out, or set 'strict' to false to leave it to the model"


@dataclass(frozen=True, slots=True)
class _Site:
    """A keyword at its place."""

    path: Path
    keyword: str
    value: object


@dataclass(frozen=True, slots=True)
class Enforced:
    """What of a schema answers are held to.

    Attributes:
        schema: in words that the library enforces exactly.
        digits: how many numbers may have.
    """

    schema: Any
    digits: Digits


def compile_schema(compilation: Compilation, schema: object, *, strict: bool) -> Constraint:
    """A constraint that holds answers to `schema`, as compact JSON.

    Takes as long as the request has left; call it on the compiler's threads.

    Args:
        compilation: of the request.
        schema: an object or a boolean.
        strict: refuse what cannot be enforced; else leave it to the model.

    Raises:
        SchemaError: the schema is malformed, too large, or cannot be enforced.
    """
    enforced = enforceable(compilation, schema, strict=strict)
    exact = Grammar.json_schema(enforced.schema, exclusive=strict)
    numbers = Grammar.lark(enforced.digits.any_json(), any_spelling=True)
    try:
        return Together(compilation.compile(exact), compilation.compile(numbers))
    except GrammarError as error:
        raise SchemaError((), in_words(str(error))) from error


def enforceable(compilation: Compilation, schema: object, *, strict: bool) -> Enforced:
    """What of `schema` is enforced: all that bears on answers if it is strict.

    Takes as long as `compile_schema`, and raises what it does.
    """
    check_schema_size(schema, compilation.limits.source_bytes)
    reader = _Reader(strict=strict)
    whole = with_local_references(reader.read(schema, ()))
    if not strict:
        whole = without_strangers(whole)
    removed: set[Path] = set()
    while True:
        try:
            said = _tried(compilation, whole, strict=strict)
        except SchemaError:
            raise
        except GrammarError as error:
            left = [site for site in reader.sites if not _is_within(site.path, removed)]
            site = _culprit(str(error), left)
            if site is None and "Unsatisfiable" not in str(error):
                site = _found_by_trial(compilation, whole, left, strict=strict)
            if strict or site is None or site.keyword == "$ref" or len(removed) == _MOST_REMOVALS:
                path = site.path if site else ()
                raise SchemaError(path, _told(site, error, strict=strict)) from error
            removed.add(site.path)
            whole = _without(whole, site.path)
        else:
            return Enforced(said, reader.digits | digits_of(said))


def _tried(compilation: Compilation, schema: Any, *, strict: bool) -> Any:
    """The schema in words of the library, which has compiled it.

    Raises:
        GrammarError: it cannot be enforced.
    """
    said = _said(schema, strict=strict)
    compilation.compile(Grammar.json_schema(said, exclusive=strict))
    return said


def _said(schema: Any, *, strict: bool) -> Any:
    """The schema in words that the library enforces exactly; as it is where that has none."""
    said = schema
    for step in (without_endless, equivalent, with_bounded_multiples, with_one_spelling):
        try:
            said = step(said)
        except SchemaError:
            if strict:
                raise
    if said is False and schema is not False:
        raise SchemaError((), "nothing can satisfy it: every value would go on without an end")
    return with_patterns_spelled(said)


def check_schema_size(schema: object, most: int) -> int:
    """Refuse a schema for its size alone; quick, whatever is in it.

    Returns:
        its bytes as JSON.

    Raises:
        SchemaError: as JSON it has more than `most` bytes.
    """
    try:
        return check_size(json.dumps(schema, ensure_ascii=False), most)
    except GrammarError as error:
        raise SchemaError((), str(error)) from error


def _told(site: _Site | None, error: GrammarError, *, strict: bool) -> str:
    reason = in_words(str(error).rstrip("."))
    if site is None:
        return reason
    if site.keyword == "oneOf":
        reason = "its branches may overlap, or nothing tells them apart; use 'anyOf'"
    return f"'{site.keyword}' cannot be enforced here: {reason}" + (
        f"; {_REMEDY}" if strict else ""
    )


def _is_within(path: Path, places: Iterable[Path]) -> bool:
    return any(path[: len(place)] == place for place in places)


def _found_by_trial(
    compilation: Compilation, whole: Any, sites: Sequence[_Site], *, strict: bool
) -> _Site | None:
    """The keyword for which a schema cannot be followed, where the library does not say.

    That is the last of the fewest, in the order of `_REMOVABLE`, without which it can be.

    Args:
        compilation: whose time the trials take.
        whole: the schema.
        sites: keywords that it might be.
        strict: as in `enforceable`.
    """
    order = sorted(
        (site for site in sites if site.keyword in _REMOVABLE),
        key=lambda site: _REMOVABLE.index(site.keyword),
    )

    def is_followed(count: int) -> bool:
        """Whether the schema can be followed without the first so many."""
        rest, gone = whole, set[Path]()
        for site in order[:count]:
            if not _is_within(site.path, gone):
                rest = _without(rest, site.path)
                gone.add(site.path)
        try:
            _tried(compilation, rest, strict=strict)
        except GrammarError:
            return False
        return True

    if not order or not is_followed(len(order)):
        return None
    return order[bisect_left(range(1, len(order)), True, key=is_followed)]


def _culprit(message: str, left: Sequence[_Site]) -> _Site | None:
    """The keyword that an error of the library is about: it names keywords and patterns."""
    for site in left:
        named = [site.value.removeprefix("#")] if isinstance(site.value, str) else []
        if site.keyword == "patternProperties":
            named = list(cast("dict[str, object]", site.value))
        if any(len(name) > 1 and str(name) in message for name in named):
            return site
    aliases = {"patternProperty": "patternProperties", "min/maxProperties": "minProperties"}
    for alias, keyword in aliases.items():
        message = message.replace(alias, f"{keyword} {keyword.replace('min', 'max')}")
    if "regex for" in message:
        message += " minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"
    return next((site for site in left if re.search(rf"\b{site.keyword}\b", message)), None)


def _without(schema: object, path: Path) -> Any:
    """A copy of `schema` without the keyword at `path`, which may have gone with another."""
    step, *rest = path
    if isinstance(schema, list):
        items = list(cast("list[object]", schema))
        items[cast("int", step)] = _without(items[cast("int", step)], tuple(rest))
        return items
    given = cast("dict[str, Any]", schema)
    fields = dict(given)
    if not rest:
        fields.pop(str(step), None)
    elif str(step) in fields:
        fields[str(step)] = _without(fields[str(step)], tuple(rest))
    return _with_free_names(given, fields)


def _with_free_names(schema: Mapping[str, object], kept: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a schema; without its patterns of names nothing says which are further."""
    if "patternProperties" in schema and "patternProperties" not in kept:
        kept.pop("additionalProperties", None)
    return kept


class _Reader:
    """Reads a schema keyword by keyword, and leaves out what is left to the model.

    Attributes:
        sites: the keywords that the library may refuse all the same, in the schema's order.
        digits: what it takes to write the numbers that the schema names, also those in keywords
            that are left to the model.
    """

    def __init__(self, *, strict: bool) -> None:
        self.sites: list[_Site] = []
        self.digits = Digits()
        self._strict = strict

    def read(self, schema: object, path: Path) -> Any:
        """The schema as the library is to have it."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise SchemaError(path, "a schema is an object, or true or false")
        fields = cast("dict[str, object]", schema)
        kept: dict[str, object] = {}
        for name, value in fields.items():
            here = (*path, name)
            keyword = KEYWORDS.get(name)
            if keyword is None:
                self._leave(here, f"'{_short(name)}' is not a keyword that can be enforced")
            elif keyword.state != "annotation":
                checked = self._value(keyword, value, here)
                if self._enforceable(keyword, checked, fields, here):
                    kept[name] = checked
                elif "properties" in fields and "additionalProperties" not in fields:
                    # What is left to the model may ask for members that are not listed.
                    kept["additionalProperties"] = True
            elif name in ("$id", "$anchor"):
                kept[name] = value
        return _with_free_names(fields, kept)

    def _value(self, keyword: Keyword, value: object, path: Path) -> object:
        if keyword.state == "left" and not self._strict:
            return value
        match keyword.holds:
            case "schema":
                return self.read(value, path)
            case "schemas":
                schemas = list_of(value, path, "schemas")
                return [self.read(each, (*path, index)) for index, each in enumerate(schemas)]
            case "named schemas":
                if not isinstance(value, dict):
                    raise SchemaError(path, "it must be an object that names schemas")
                named = cast("dict[str, object]", value)
                return {name: self.read(each, (*path, name)) for name, each in named.items()}
            case _:
                check_value(keyword.holds, value, path)
                return value

    def _enforceable(
        self, keyword: Keyword, value: object, fields: dict[str, object], path: Path
    ) -> bool:
        """Whether the keyword stays; a strict schema with one that cannot is refused."""
        name = keyword.name
        if keyword.state == "left":
            if value is not keyword.neutral or keyword.neutral is None:
                self._leave(path, f"'{name}' cannot be enforced")
            return False
        if name == "format" and value not in FORMATS:
            self._leave(path, f"format '{_short(str(value))}' is not one of {', '.join(FORMATS)}")
            return False
        if name == "minProperties":
            required = fields.get("required")
            count = len(cast("list[object]", required)) if isinstance(required, list) else 0
            if cast("int", value) > count and not can_be_listed(fields):
                self._leave(
                    path, f"'minProperties' above the number of required ones, here {count}, "
                    f"cannot be enforced where further properties could repeat a name, or where "
                    f"there are too many to choose from"
                )  # fmt: skip
                return False
        if name in ("const", "enum", *BOUNDS):
            self.digits |= digits_for(numbers_in(value))
            found = next(inexact(value), None)
            if found is not None:
                self._leave(path, f"{found} is beyond 2^53, from where on numbers are not exact")
                return False
        try:
            # As the library names them in its errors.
            value = spelled(name, value)
        except PatternError as error:
            self._leave(path, f"'{name}' cannot be enforced here: {error}")
            return False
        if name in _REMOVABLE or name == "$ref":
            self.sites.append(_Site(path, name, value))
        return True

    def _leave(self, path: Path, reason: str) -> None:
        if self._strict:
            raise SchemaError(path, f"{reason}; {_REMEDY}")


def _short(name: str) -> str:
    return name if len(name) <= 64 else name[:64] + "…"
