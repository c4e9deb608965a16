"""Bodies of requests that are cheap to send and may be dear to read.

Found by a search: at every place of the request's schema (`request_places.py`), every way to make
what stands there large. Each has a name that says the place and the way, and can be made in any
size. Knows nothing of what a server does with them.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from serve.api.wire.request import ChatRequest
from tools.dear_texts import PLAIN, TEXTS, Make, again
from tools.dear_values import NUMBERS, OTHERS, free, listed, lists, maps, nested, objects, paired
from tools.request_places import NUMBERED, Place, RequestPlaces

# In what an item of a list holds, where the whole is spread over many.
_SPREAD_BYTES = 1_000
# Members whose strings are prompts, sources of grammars, or looked for in answers; each gets every
# text there is once, where it is met first.
_TOLD = frozenset({"content", "text", "arguments", "description", "definition", "stop", "input"})


@dataclass(frozen=True, slots=True)
class DearRequest:
    """A body of any size.

    Attributes:
        name: the place, and the way in which it is large.
        body: makes one of about so many bytes.
        headers: to send besides the usual ones.
    """

    name: str
    body: Callable[[int], bytes]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def dear_requests(model: str, depth: int = 64) -> Iterator[DearRequest]:
    """Every place of a request's schema, made large in every way; then whole bodies.

    Args:
        model: the name of the served model.
        depth: how deep arrays and objects may be nested in a body.
    """
    names: set[str] = set()
    for shape in _all(model, depth):
        if shape.name not in names:
            names.add(shape.name)
            yield shape


def _all(model: str, depth: int) -> Iterator[DearRequest]:
    """With those twice that two kinds of values in one place have in common."""
    places = RequestPlaces(ChatRequest.model_json_schema(), model)
    told: set[str] = set()
    for place in places:
        ways = _ways(place, places, depth)
        if place.kind == "string" and place.field in _TOLD - told:
            told.add(place.field)
            ways |= TEXTS
        for way, make in ways.items():
            yield _large(place, way, make)
        if place.item is not None:
            for way, make in list(ways.items())[:2]:
                yield _spread(place, way, make)
    for name, make in _wholes(depth).items():
        yield DearRequest(f"body: {name}", make)
    yield from _compressed(model)


def _large(place: Place, way: str, make: Make) -> DearRequest:
    def body(size: int) -> bytes:
        return place.holding(make(size)).encode()

    return DearRequest(f"{place.name or 'request'}: {way}", body)


def _spread(place: Place, way: str, make: Make) -> DearRequest:
    def body(size: int) -> bytes:
        value = make(_SPREAD_BYTES)
        return place.repeated(value, max(1, size // (len(value.encode()) + 60))).encode()

    return DearRequest(f"{place.name}: {way}, in each member of the list", body)


def _ways(place: Place, places: RequestPlaces, depth: int) -> dict[str, Make]:
    match place.kind:
        case "array":
            return lists(places.shortest(place.node["items"])) | OTHERS
        case "object":
            known = next(iter(place.node.get("properties", {})))
            return objects(known) | {"numbers instead": listed("0")}
        case "map":
            return maps(places.shortest(place.node["additionalProperties"])) | OTHERS
        case "free":
            return free(depth) | {"numbers instead": listed("0")}
        case "number":
            return NUMBERS | OTHERS | {"a text instead": again("a")}
        case "string":
            return PLAIN | OTHERS
        case _:
            return OTHERS | {"a text instead": again("a")}


def _wholes(depth: int) -> dict[str, Callable[[int], bytes]]:
    """Bodies that are no request."""
    texts: dict[str, Make] = {
        "a list of numbers": listed("1"),
        "a list of empty lists": listed("[]"),
        "a text": again("a"),
        "a number": lambda size: "1" * size,
        "spaces": lambda size: " " * size,
        "spaces, then an object": lambda size: " " * size + "{}",
        "an object, then spaces and more": lambda size: "{}" + " " * size + "{}",
        "newlines, then a fault": lambda size: "\n" * size + "{]",
        "nested lists": nested("[", "]"),
        "nested objects": nested('{"a":', "}", "0"),
        "open lists": lambda size: "[" * size,
        "many deep lists": listed("[" * (depth - 2) + "]" * (depth - 2)),
        "a text without an end": lambda size: '{"a":"' + "a" * size,
        "a list without an end": lambda size: '{"a":[' + "0," * (size // 2),
        "a wrong escape at the end": lambda size: '{"a":"' + "a" * size + '\\x"}',
        "a wrong word at the end": lambda size: '{"a":[' + "0," * (size // 2) + "nul]}",
        "keys alike but for their ends": paired(f'"{"k" * 200}{NUMBERED}":0'),
        "objects with a key each": listed(f'{{"{NUMBERED}":0}}'),
    }
    wholes = {name: _encoded(make) for name, make in texts.items()}
    wholes["a byte that is not UTF-8, at the end"] = lambda size: (
        b'{"a":"' + b"a" * size + b'\xff"}'
    )
    wholes["UTF-16"] = lambda size: ('{"a":"' + "a" * (size // 2) + '"}').encode("utf-16")
    return wholes


def _encoded(make: Make) -> Callable[[int], bytes]:
    return lambda size: make(size).encode()


def _compressed(model: str) -> Iterator[DearRequest]:
    """What unfolds to many bytes, or is many pieces."""

    def spaces(size: int) -> bytes:
        return b" " * size

    def wrong(size: int) -> bytes:
        return b'{"messages":[' + b"1," * (size // 2) + b'1],"model":"%s"}' % model.encode()

    def blocks(size: int) -> bytes:
        # An empty block that is stored as it is takes five bytes.
        return b"\0\0\0\xff\xff" * (size // 5) + b"\3\0"

    def packed(data: bytes) -> bytes:
        # Without the time, which would make each body another one.
        return gzip.compress(data, mtime=0)

    empty = packed(b"")
    once, twice = {"Content-Encoding": "gzip"}, {"Content-Encoding": "gzip, gzip"}
    pressed: dict[str, tuple[Callable[[int], bytes], dict[str, str]]] = {
        "spaces": (lambda size: packed(spaces(size)), once),
        "a thousand times as many spaces": (
            lambda size: packed(packed(spaces(min(1_000 * size, 2**28)))),
            twice,
        ),
        "wrong members": (lambda size: packed(wrong(size)), once),
        "many empty members": (lambda size: empty * (size // len(empty)), once),
        "many empty members, compressed": (
            lambda size: packed(empty * (size // len(empty))),
            twice,
        ),
        "many empty blocks": (blocks, {"Content-Encoding": "deflate"}),
        "a fault at the end": (lambda size: packed(spaces(size))[:-4] + b"\0" * 4, once),
    }
    for name, (body, headers) in pressed.items():
        yield DearRequest(f"compressed: {name}", body, headers)
