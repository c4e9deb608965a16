"""Every keyword of JSON Schema (Draft 2020-12) as data: what it holds, and what becomes of it.

`schema.py` checks schemas by this table, and `docs/structured-output.md` prints it.
"""

from dataclasses import dataclass
from typing import Literal

# What a keyword's value is.
Holds = Literal[
    "schema",
    "schemas",
    "named schemas",
    "count",
    "number",
    "positive number",
    "text",
    "texts",
    "types",
    "values",
    "value",
    "flag",
]
State = Literal["enforced", "annotation", "left"]

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
FORMATS = (
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uri",
    "uuid",
)


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword.

    Attributes:
        name: as schemas spell it.
        holds: what its value is.
        state: `enforced`; `annotation`: says nothing about which answers are valid; `left`:
            cannot be enforced, refused where the schema is strict and else left to the model.
        note: what a person should know.
        neutral: a value of a keyword that is left with which it asks for nothing.
    """

    name: str
    holds: Holds
    state: State
    note: str = ""
    neutral: bool | None = None


def _enforced(holds: Holds, **notes: str) -> list[Keyword]:
    return [Keyword(_spelled(name), holds, "enforced", note) for name, note in notes.items()]


def _annotations(*names: str) -> list[Keyword]:
    return [Keyword(name, "value", "annotation") for name in names]


def _left(holds: Holds, *names: str, neutral: bool | None = None) -> list[Keyword]:
    return [Keyword(name, holds, "left", neutral=neutral) for name in names]


def _spelled(name: str) -> str:
    return name.replace("__", "$").rstrip("_")


_TABLE = [
    *_enforced("types", type="One of " + ", ".join(f"`{name}`" for name in TYPES) + ", or several"),
    *_enforced("values", enum="Any JSON values; integers up to 2⁵³"),
    *_enforced("value", const="As `enum`"),
    *_enforced(
        "schemas",
        anyOf="",
        oneOf="Where the branches can be told apart, through `$ref` too: by type, by constants, by "
        "ranges or sizes, by a required property that differs so or that the other does not have. "
        "Not strict: as `anyOf`",
        allOf="Where the branches can be merged into one schema",
    ),
    *_enforced("text", __ref="To a place in the same schema, recursion included"),
    *_enforced("named schemas", __defs="", definitions=""),
    *_enforced(
        "named schemas",
        properties="In the order in which they are listed",
        patternProperties="Patterns that cannot match the same name",
    ),
    *_enforced("texts", required=""),
    *_enforced("schema", additionalProperties="After the listed properties"),
    *_enforced(
        "count",
        minProperties="Up to the number of required ones; above it only beside "
        "`additionalProperties: false`, and with at most 64 ways to choose the others",
        maxProperties="Where all listed properties are required",
    ),
    *_enforced("schema", items="A schema; for one schema per place use `prefixItems`"),
    *_enforced("schemas", prefixItems=""),
    *_enforced("count", minItems="", maxItems="", minLength="In characters", maxLength=""),
    *_enforced(
        "text",
        pattern="As ECMA-262 reads it, found anywhere in the text unless anchored; see below",
        format="One of " + ", ".join(f"`{name}`" for name in FORMATS) + ". 29 February is "
        "a date in every year",
    ),
    *_enforced(
        "number",
        minimum="Integers up to 2⁵³",
        maximum="",
        exclusiveMinimum="From 3, 3.00000000000001 on: 15 digits. From 0, 10⁻³⁰ on. Below 0, as "
        "`exclusiveMaximum` above it",
        exclusiveMaximum="Also of what doubles round to it",
    ),
    *_enforced("positive number", multipleOf="Few digits: the automaton grows with them"),
    *_annotations("title", "description", "default", "examples", "deprecated"),
    *_annotations("readOnly", "writeOnly", "contentMediaType", "contentEncoding"),
    *_annotations("$comment"),
    Keyword("$id", "value", "annotation", "A name for `$ref`, which need not be an address"),
    Keyword("$anchor", "value", "annotation", "As `$id`"),
    Keyword("$schema", "text", "annotation", "Every schema is read as Draft 2020-12"),
    *_left("schema", "not", "if", "then", "else", "contains", "propertyNames", "contentSchema"),
    *_left("schema", "unevaluatedItems", "unevaluatedProperties", "additionalItems"),
    *_left("count", "minContains", "maxContains"),
    *_left("flag", "uniqueItems", neutral=False),
    *_left("named schemas", "dependentSchemas"),
    *_left("value", "dependentRequired", "dependencies", "$dynamicRef", "$dynamicAnchor"),
    *_left("value", "$recursiveRef", "$recursiveAnchor", "$vocabulary"),
]
KEYWORDS = {keyword.name: keyword for keyword in _TABLE}


def keyword_table() -> str:
    """The keywords as a Markdown table."""
    titles = {
        "enforced": "enforced",
        "annotation": "asks for nothing",
        "left": "strict: refused; else left to the model",
    }
    lines = ["| keyword | what becomes of it | remarks |", "|---|---|---|"]
    for keyword in KEYWORDS.values():
        note = keyword.note
        if keyword.neutral is not None:
            note = f"`{str(keyword.neutral).lower()}` asks for nothing"
        lines.append(f"| `{keyword.name}` | {titles[keyword.state]} | {note} |")
    lines.append(f"| any other | {titles['left']} | |")
    return "\n".join(lines) + "\n"
