"""Calls below `/chat/completions` that are wrong, and what is told of each."""

import json
from typing import Any

import pytest

URL = "/v1/chat/completions"
GOOD = "chatcmpl-" + "0" * 22
LIST, ONE, MESSAGES = URL, f"{URL}/{GOOD}", f"{URL}/{GOOD}/messages"
UNKNOWN, VALUE, TYPE = "unknown_parameter", "invalid_value", "invalid_type"
LOW, HIGH = "integer_below_min_value", "integer_above_max_value"
MALFORMED: list[tuple[str, str, Any, int, str | None, str]] = [
    *(
        ("GET", f"{path}?{query}", None, 400, param, code)
        for path in (LIST, MESSAGES)
        for query, param, code in (
            ("limit=0", "limit", LOW),
            ("limit=101", "limit", HIGH),
            ("limit=-1", "limit", LOW),
            ("limit=1e1", "limit", TYPE),
            ("limit=", "limit", TYPE),
            ("limit=1.0", "limit", TYPE),
            ("limit=%20" + "1", "limit", TYPE),
            ("limit=" + "9" * 30, "limit", TYPE),
            ("limit=1&limit=1", "limit", VALUE),
            ("limit[]=1", "limit", TYPE),
            ("order=up", "order", VALUE),
            ("order=", "order", VALUE),
            ("order=ASC", "order", VALUE),
            ("order=asc&order=desc", "order", VALUE),
            ("after=" + "x" * 129, "after", "string_above_max_length"),
            ("after[a]=1", "after", TYPE),
            ("foo=1", "foo", UNKNOWN),
            ("foo", "foo", UNKNOWN),
            ("Limit=1", "Limit", UNKNOWN),
            ("=1", None, UNKNOWN),
            ("order=%ff", None, "invalid_query"),
            ("order=%C3%A9", "order", VALUE),
            ("&".join(f"a{n}=1" for n in range(65)), None, "invalid_query"),
        )
    ),
    ("GET", f"{LIST}?after=nothing", None, 400, "after", VALUE),
    ("GET", f"{LIST}?after={GOOD}", None, 400, "after", VALUE),
    ("GET", f"{LIST}?after=%00", None, 400, "after", VALUE),
    ("GET", f"{LIST}?metadata=x", None, 400, "metadata", TYPE),
    ("GET", f"{LIST}?metadata[a]=1&metadata[a]=2", None, 400, "metadata", VALUE),
    ("GET", f"{LIST}?metadata=x&metadata[a]=2", None, 400, "metadata", VALUE),
    ("GET", f"{LIST}?metadata[{'k' * 65}]=1", None, 400, None, "string_above_max_length"),
    ("GET", f"{LIST}?metadata[k]={'v' * 513}", None, 400, "metadata.k", "string_above_max_length"),
    (
        "GET",
        f"{LIST}?" + "&".join(f"metadata[k{n}]=1" for n in range(17)),
        None,
        400,
        "metadata",
        "object_above_max_properties",
    ),
    ("GET", f"{LIST}?model=" + "m" * 1025, None, 400, "model", "string_above_max_length"),
    ("GET", f"{MESSAGES}?model=tiny", None, 400, "model", UNKNOWN),
    ("GET", ONE, None, 404, None, "not_found"),
    ("GET", f"{URL}/nothing", None, 404, None, "not_found"),
    ("GET", f"{URL}/{GOOD}%00", None, 404, None, "not_found"),
    ("GET", MESSAGES, None, 404, None, "not_found"),
    ("GET", f"{ONE}/nothing", None, 404, None, "not_found"),
    ("DELETE", ONE, None, 404, None, "not_found"),
    ("DELETE", URL, None, 405, None, "method_not_allowed"),
    ("PUT", ONE, None, 405, None, "method_not_allowed"),
    ("POST", MESSAGES, {}, 405, None, "method_not_allowed"),
    ("POST", ONE, {"metadata": {}}, 404, None, "not_found"),
    ("POST", ONE, {}, 400, "metadata", "missing_required_parameter"),
    ("POST", ONE, {"metadata": []}, 400, "metadata", TYPE),
    ("POST", ONE, {"metadata": {"a": 1}}, 400, "metadata.a", TYPE),
    ("POST", ONE, {"metadata": {"a": "v" * 513}}, 400, "metadata.a", "string_above_max_length"),
    ("POST", ONE, {"metadata": {}, "model": "x"}, 400, "model", UNKNOWN),
    ("POST", ONE, {"metadata": {"a": "x" * 140_000}}, 413, None, "request_too_large"),
    ("POST", ONE, [], 400, None, TYPE),
]


async def call(house: Any, method: str, path: str, **more: Any) -> tuple[int, Any]:
    response = await house.app.test_client().open(path, method=method, **more)
    return response.status_code, json.loads(await response.get_data())


@pytest.mark.parametrize(("method", "path", "body", "status", "param", "code"), MALFORMED)
async def test_malformed_calls(
    storing: Any, method: str, path: str, body: Any, status: int, param: str | None, code: str
) -> None:
    more = {} if body is None else {"json": body}
    given, told = await call(storing(), method, path, **more)
    assert (given, told["error"]["code"]) == (status, code), told
    if param is not None:
        assert told["error"]["param"] == param


async def test_an_update_is_json(storing: Any) -> None:
    given, told = await call(storing(), "POST", ONE, data=b"metadata=1")
    assert (given, told["error"]["code"]) == (415, "unsupported_media_type")
