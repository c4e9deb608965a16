"""Compressed bodies: what is decoded, and what is refused with what."""

import gzip
import json
import time
import tracemalloc
import zlib
from typing import Any

import pytest

from serve.api.asking.content_coding import Body, codings_of, decoded
from serve.api.wire.errors import ApiError
from serve.api.wire.response import ErrorBody


@pytest.fixture(scope="module")
def house(make_house: Any) -> Any:
    """One for all, because the process that reads compressed bodies takes a while to start."""
    return make_house()


def zipped(data: bytes) -> bytes:
    """As gzip, the same at any time: tests are named by it."""
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


async def refused(response: Any, status: int, code: str) -> str:
    """The message of a refusal."""
    body = await response.get_json()
    ErrorBody.model_validate(body)
    assert (response.status_code, body["error"]["code"]) == (status, code)
    return body["error"]["message"]


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", gzip.compress),
        # Two members one after another are one body (RFC 1952, section 2.2).
        ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, 0)),
        ("deflate", raw_deflate),
        ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
        ("deflate ,identity,, gzip", lambda data: gzip.compress(raw_deflate(data))),
        ("identity", bytes),
        ("", bytes),
    ],
)
async def test_a_compressed_body_is_read(house: Any, ask: Any, encoding: str, encode: Any) -> None:
    data = json.dumps(ask(messages=[{"role": "user", "content": "Grüße! " * 30}])).encode()
    response = await house.post(raw=encode(data), content_encoding=encoding)
    assert response.status_code == 200, await response.get_data()
    assert "Grüße! Grüße!" in house.tokenizer.spell(house.engine.request.prompt)


async def test_codings_in_several_headers_are_one_list(house: Any, ask: Any) -> None:
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "deflate"),
    ]
    data = zlib.compress(gzip.compress(json.dumps(ask()).encode()))
    client = house.app.test_client()
    response = await client.post("/v1/chat/completions", data=data, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip", "*"]
)
async def test_other_encodings_are_named(house: Any, encoding: str) -> None:
    response = await house.post(raw=b"\x1f\x8b\x00", content_encoding=encoding)
    message = await refused(response, 415, "unsupported_media_type")
    assert f"'{encoding}'" in message
    assert "gzip or deflate" in message
    assert response.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", b"", "it ends too early"),
        ("deflate", b"", "it ends too early"),
        ("gzip", zipped(b"{}")[:-1], "it ends too early"),
        ("deflate", zlib.compress(b"{}")[:-1], "it ends too early"),
        ("gzip", zipped(b"{}")[:-8] + bytes(8), "incorrect data check"),
        ("gzip", zipped(b"{}") + b"x", "it ends too early"),
        ("gzip", zipped(b"{}") + b"tail", "incorrect header check"),
        ("deflate", zlib.compress(b"{}") + b"x", "something follows its end"),
        ("gzip", b'{"model": "tiny"}', "incorrect header check"),
        ("gzip", zlib.compress(b"{}"), "incorrect header check"),
        ("deflate", b"\xff\xff", "invalid block type"),
    ],
)
async def test_damaged_data(house: Any, encoding: str, body: bytes, reason: str) -> None:
    response = await house.post(raw=body, content_encoding=encoding)
    message = await refused(response, 400, "invalid_compression")
    assert message.endswith(f"is {encoding}: {reason}.")


async def test_what_was_compressed_must_be_json_all_the_same(house: Any) -> None:
    response = await house.post(raw=gzip.compress(b"\xff"), content_encoding="gzip")
    assert "not valid UTF-8" in await refused(response, 400, "invalid_json")


async def test_the_bound_holds_for_what_is_decompressed(make_house: Any, ask: Any) -> None:
    data = json.dumps(ask(messages=[{"role": "user", "content": "Hi" * 100}])).encode()
    bounded = make_house(settings={"max_body_bytes": len(data)})
    fits = await bounded.post(raw=gzip.compress(data), content_encoding="gzip")
    assert fits.status_code == 200
    one_more = await bounded.post(raw=gzip.compress(data + b" "), content_encoding="gzip")
    assert f"{len(data)} bytes" in await refused(one_more, 413, "request_too_large")


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_takes_no_more_memory_than_the_bound(layers: int) -> None:
    bomb = gzip.compress(bytes(32 * 2**20))
    if layers == 2:
        bomb = gzip.compress(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ApiError) as refusal:
            decoded(Body(bomb, ("gzip",) * layers), 100_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert refusal.value.status == 413


def test_many_empty_members_take_linear_time() -> None:
    members = gzip.compress(b"", mtime=0) * 200_000
    began = time.process_time()
    assert decoded(Body(members, ("gzip",)), 100) == b""
    # 0.1 s; with a copy of all that follows at each member's end it is 100 times that.
    assert time.process_time() - began < 2


def test_codings_are_in_the_order_of_the_header() -> None:
    assert codings_of(" X-GZIP , deflate") == ("gzip", "deflate")
    assert codings_of("identity") == ()
