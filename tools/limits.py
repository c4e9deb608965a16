"""Tables of the limits on what callers may ask, for the documentation: read from the code."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from serve.api.asking.constraint import MOST_GRAMMARS
from serve.api.asking.content_coding import MOST_CODINGS
from serve.api.asking.json_body import MOST_CONTAINERS, MOST_DIGITS
from serve.api.asking.media_gatherer import PLACES
from serve.api.asking.waiting_room import MOST_WAITING, MOST_WAITING_BODIES
from serve.api.asking.worker_pool import LEAST_MEMORY, MEMORY_EACH_BYTE, MOST_SECONDS
from serve.api.settings import ApiSettings
from serve.api.wire.request import ChatRequest
from serve.config import BODY_BYTES, ServeConfig
from serve.engine.cache_tiers import READ_SECONDS
from serve.engine.intake import MOST_FULL
from serve.engine.page_files import LIFE_SECONDS
from serve.engine.retention import FAVOURED_SECONDS, FAVOURED_SHARE
from serve.protocol.settings import (
    CONNECTIONS,
    HEAD_BYTES,
    HEAD_SECONDS,
    HTTP2_STREAMS,
    IDLE_CONNECTION_SECONDS,
    STALLED_READER_SECONDS,
    TLS_HANDSHAKE_SECONDS,
)
from serve.setting_names import flag_name, settings

_BOUNDS = {
    "maxItems": ("entries", "array_above_max_length"),
    "maxProperties": ("members", "object_above_max_properties"),
    "maxLength": ("characters", "string_above_max_length"),
}


def settings_table() -> str:
    """The limits that whoever runs a server can change."""
    defaults = ServeConfig()
    rows = ["| limit | flag | default | beyond it | why |", "|---|---|---|---|---|"]
    for name, (_, explained) in settings().items():
        if explained.beyond:
            default = explained.default_text or f"{getattr(defaults, name):,}"
            meaning = explained.help.partition(";")[0].rstrip(".")
            rows.append(
                f"| {meaning} | `{flag_name(name)}` | {default} | {explained.beyond} | "
                f"{explained.why} |"
            )
    return "\n".join(rows) + "\n"


def fixed_table() -> str:
    """The limits that are constants of the code."""
    rows = ["| limit | value | beyond it | why |", "|---|---|---|---|"]
    rows += [f"| {each.what} | {each.value} | {each.beyond} | {each.why} |" for each in _fixed()]
    return "\n".join(rows) + "\n"


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A limit without a flag.

    Attributes:
        what: is limited.
        value: with its unit.
        beyond: what becomes of what goes beyond it.
        why: what it is for.
    """

    what: str
    value: str
    beyond: str
    why: str


def _bytes(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 2**20 else f"{size >> 10} KiB"


def _seconds(number: float) -> str:
    return f"{number:g} s"


def _fixed() -> Iterator[_Fixed]:
    api, serving = ApiSettings(""), ServeConfig()
    holds_memory = "Whoever sends slowly would hold memory for ever."
    holds_connection = "Whoever sends slowly would hold a connection for ever."
    yield _Fixed(
        "nesting of a body",
        f"{api.max_json_depth} levels",
        "400 `invalid_json`",
        "What is read recursively must end.",
    )
    yield _Fixed(
        "arrays and objects of a body",
        f"{MOST_CONTAINERS:,}",
        "400 `invalid_json`",
        "Each takes a hundred bytes of memory, and two to send.",
    )
    yield _Fixed(
        "digits of an integer",
        f"{MOST_DIGITS}",
        "400 `invalid_json`",
        "The time to read one grows with the square.",
    )
    yield _Fixed(
        "codings of a body",
        f"{MOST_CODINGS}",
        "415 `unsupported_media_type`",
        "Each is undone on its own.",
    )
    yield _Fixed(
        "all schemas and grammars of a request",
        f"{MOST_GRAMMARS} times `--max-grammar-bytes`",
        "400 `invalid_value`",
        "The time to make them ready grows with them.",
    )
    yield _Fixed(
        "time to read a long body",
        f"{_seconds(MOST_SECONDS)} of a core",
        "413 `request_too_large`",
        "Others wait for their turn.",
    )
    yield _Fixed(
        "memory to read a long body",
        f"{_bytes(LEAST_MEMORY)} and {MEMORY_EACH_BYTE} bytes for each of `--max-body-bytes`, or "
        f"of {_bytes(BODY_BYTES)} where it is not set",
        "413 `request_too_large`",
        "The dearest text takes so much, and nothing should take more.",
    )
    yield _Fixed(
        "long bodies that wait to be read",
        f"{MOST_WAITING}, or {MOST_WAITING_BODIES} times `--max-body-bytes` together",
        "429 `queue_full`, for whoever has most there",
        "They are held in memory.",
    )
    yield _Fixed(
        "requests whose pictures and files wait to be read",
        f"{MOST_WAITING}, or {MOST_WAITING_BODIES} times `--max-body-bytes` together; {PLACES} are "
        "worked at",
        "429 `queue_full`, for whoever has most there",
        "They are held in memory.",
    )
    yield _Fixed(
        "tokens of a request's pictures",
        "what the context holds",
        "400 `context_length_exceeded`",
        "Their patches are held in memory until the answer's end: 6 KiB a token of Qwen3-VL's.",
    )
    yield _Fixed(
        "a body, to arrive",
        _seconds(api.body_seconds),
        "408 `request_timeout`",
        holds_memory,
    )
    yield _Fixed(
        f"all bodies that arrive, beyond {_bytes(api.free_body_bytes)} of each",
        f"{_bytes(api.held_body_bytes)}, from one network no more than is left",
        f"waits {_seconds(api.body_wait_seconds)}, then 503 `too_many_bodies`",
        "They are held in memory.",
    )
    yield _Fixed(
        "a request's head",
        f"{_bytes(HEAD_BYTES)}",
        "431 `headers_too_large`",
        "It is held in memory before anything is known of it.",
    )
    yield _Fixed(
        "a request's head, to arrive",
        _seconds(HEAD_SECONDS),
        "408 `request_timeout`",
        holds_connection,
    )
    yield _Fixed(
        "a TLS handshake", _seconds(TLS_HANDSHAKE_SECONDS), "the connection ends", holds_connection
    )
    yield _Fixed(
        "a connection without a request",
        _seconds(IDLE_CONNECTION_SECONDS),
        "the connection ends",
        "Longer than clients keep theirs, so that it is they who end it.",
    )
    yield _Fixed(
        "a client that takes nothing of its answer",
        _seconds(STALLED_READER_SECONDS),
        "its request is broken off",
        "What is generated for it piles up.",
    )
    yield _Fixed(
        "connections",
        f"{CONNECTIONS:,}, or what the limit on open files leaves; from one network no more than "
        "are left",
        "closed at once",
        "Each takes memory and a file.",
    )
    yield _Fixed(
        "requests of an HTTP/2 connection at a time",
        f"{HTTP2_STREAMS}",
        "the stream is refused",
        "A connection is no way around the bounds on many.",
    )
    yield _Fixed(
        "choices that are in the engine",
        f"--rows and --queue-limit together (by default {serving.rows + serving.queue_limit:,}); "
        f"for callers below their share up to {MOST_FULL} times as many",
        "429 `queue_full`; one request that never fits 400 `integer_above_max_value`",
        "A caller below its share is not kept out by one who fills all.",
    )
    yield _Fixed(
        "a page in --cache-dir",
        f"{LIFE_SECONDS / 3600:g} hours",
        "is deleted, and computed anew",
        "What callers are told of `24h`.",
    )
    yield _Fixed(
        "waiting for pages from --cache-dir",
        _seconds(READ_SECONDS),
        "the rest is computed",
        "A disk may be slow.",
    )
    yield _Fixed(
        "pages that groups keep before others",
        f"{FAVOURED_SHARE:.0%} of a tier, of a group for {FAVOURED_SECONDS / 60:g} minutes unused",
        "go first, or like others",
        "A group must not hold memory for ever.",
    )


def fields_table() -> str:
    """How long the lists, objects and strings of a request may be."""
    rows = ["| field | most | beyond it |", "|---|---|---|"]
    found = {
        f"| `{path}` | {value:,} {_BOUNDS[kind][0]} | 400 `{_BOUNDS[kind][1]}` |": None
        for path, kind, value in _bounds()
    }
    return "\n".join([*rows, *found]) + "\n"


def _bounds() -> Iterator[tuple[str, str, int]]:
    """Path, kind and value of every bound on a length in the schema of requests."""
    schema = TypeAdapter(ChatRequest).json_schema()
    yield from _below(schema, "", schema["$defs"], ())


def _below(
    schema: dict[str, Any], path: str, definitions: dict[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[str, str, int]]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in above:
            yield from _below(definitions[name], path, definitions, (*above, name))
        return
    for kind in _BOUNDS:
        if kind in schema:
            yield path, kind, schema[kind]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _below(branch, path, definitions, above)
    if isinstance(schema.get("items"), dict):
        yield from _below(schema["items"], f"{path}[]", definitions, above)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _below(schema["additionalProperties"], f"{path}.*", definitions, above)
    if "propertyNames" in schema:
        yield from _below(schema["propertyNames"], f"{path} (keys)", definitions, above)
    for name, inner in schema.get("properties", {}).items():
        yield from _below(inner, f"{path}.{name}" if path else name, definitions, above)
