"""What an operator's SearXNG is asked, and what of its answers is taken."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.image_server import (
    Answer,
    ImageServer,
    drop_by_drop,
    image_server,
    raw,
    redirect,
    response,
)

from serve.search.searxng import SearXNG
from serve.search.types import SearchError, SearchSettings, Source, UserLocation

RESULT = {
    "url": "https://example.org/brocken",
    "title": "The  Brocken",
    "content": "1,141 m high.",
    "engine": "some engine",
    "engines": ["some engine"],
    "score": 1.0,
    "publishedDate": None,
}


@asynccontextmanager
async def asked(
    answer: Answer, settings: SearchSettings | None = None
) -> AsyncIterator[tuple[SearXNG, ImageServer]]:
    """A server with that answer to all, and who asks it."""
    async with image_server() as server:
        server.answers = defaultdict(lambda: answer)
        searxng = SearXNG(f"http://127.0.0.1:{server.port}/searx/", settings)
        try:
            yield searxng, server
        finally:
            await searxng.close()


def results(*found: Any, **more: Any) -> Answer:
    return response(json.dumps({"query": "q", "results": list(found), **more}).encode())


def sent(server: ImageServer) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(server.paths[-1]).query).items()}


async def test_results_are_asked_for_in_json_and_told_in_their_order() -> None:
    other = {"url": "http://example.com/", "title": "Other", "content": None}
    async with asked(results(RESULT, other, {**RESULT, "url": "https://third.example"})) as (
        searxng,
        server,
    ):
        found = await searxng.search("height & <name> #1?", 2)
    assert found == [
        Source("The Brocken", "https://example.org/brocken", "1,141 m high."),
        Source("Other", "http://example.com/", ""),
    ]
    assert urlsplit(server.paths[0]).path == "/searx/search"
    assert sent(server) == {"q": "height & name> #1?", "format": "json"}


async def test_a_query_gives_no_orders() -> None:
    async with asked(results()) as (searxng, server):
        assert await searxng.search("!images !!g :fr <3 what!? a:b", 5) == []
    assert sent(server)["q"] == "images g fr 3 what!? a:b"


@pytest.mark.parametrize(
    ("location", "language", "query", "asked_language"),
    [
        (UserLocation("Graz", "AT", "Styria", "Europe/Vienna"), "", "bakers in Graz Styria AT", ""),
        (UserLocation(country="AT"), "de", "bakers in Graz AT", "de-AT"),
        (UserLocation(country="AT"), "de-CH", "bakers in Graz AT", "de-CH"),
        (UserLocation(city="Graz", country="IN"), "", "bakers in Graz IN", ""),
        (UserLocation(city="!!g Linz"), "de", "bakers in Graz g Linz", "de"),
        (None, "", "bakers in Graz", ""),
    ],
)
async def test_where_the_user_is_is_told(
    location: UserLocation | None, language: str, query: str, asked_language: str
) -> None:
    async with asked(results(), SearchSettings(language=language)) as (searxng, server):
        await searxng.search("bakers in Graz", 5, location)
    told = sent(server)
    assert (told["q"], told.get("language", "")) == (query, asked_language)


async def test_what_is_no_result_is_left_out() -> None:
    bad: list[Any] = [
        None,
        7,
        "x",
        [],
        {},
        {**RESULT, "url": None},
        {**RESULT, "url": "javascript:alert(1)"},
        {**RESULT, "url": "file:///etc/passwd"},
        {**RESULT, "url": "http://"},
        {**RESULT, "url": "http://a:port/"},
        {**RESULT, "title": [], "content": 3},
    ]
    async with asked(results(*bad, RESULT, RESULT)) as (searxng, _):
        found = await searxng.search("q", 10)
    assert [each.url for each in found] == [RESULT["url"]]


async def test_a_long_result_is_cut_and_all_of_it_is_unicode() -> None:
    page = {"url": "https://exämple.org/ä b", "title": "\ud800", "content": "x" * 100_000}
    async with asked(results(page)) as (searxng, _):
        (found,) = await searxng.search("q", 1)
    assert (found.url, found.title) == ("https://xn--exmple-cua.org/%C3%A4%20b", "\ufffd")
    assert len(found.text) == 20_000


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        (response(b"", status="403 Forbidden"), "forbidden", "put json into search.formats"),
        (response(b"", status="429 Too Many"), "forbidden", "its limiter"),
        (response(b"", status="500 Oh"), "bad_answer", "status 500"),
        (redirect("http://127.0.0.1:1/"), "bad_answer", "status 302"),
        (response(b"<html>"), "bad_answer", "cannot be read"),
        (response(b'{"results": {}}'), "bad_answer", "no list of results"),
        (response(b"[]"), "bad_answer", "no list of results"),
        (response(b'{"results": [' + b"[" * 100_000), "bad_answer", "cannot be read"),
        (response(b"\xff\xfe{"), "bad_answer", "cannot be read"),
        (response(b" " * 10 * 2**20), "bad_answer", "more than 1,048,576 bytes"),
        (response(b"x", "Content-Encoding: gzip"), "bad_answer", "compressed"),
        (response(b"{", length=100), "unreachable", "does not answer"),
        (raw(b"nonsense\r\n\r\n"), "unreachable", "does not answer"),
        (raw(b""), "unreachable", "does not answer"),
    ],
)
async def test_what_is_no_answer_is_an_error_with_a_reason(
    answer: Answer, reason: str, said: str
) -> None:
    async with asked(answer) as (searxng, _):
        with pytest.raises(SearchError, match=said) as error:
            await searxng.search("q", 5)
    assert error.value.reason == reason


async def test_one_that_is_slow_is_given_up() -> None:
    """Though something comes all the time, and an answer would at last."""
    body = json.dumps({"results": []}).encode()
    slow = drop_by_drop(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    async with asked(slow, SearchSettings(seconds=0.1)) as (searxng, server):
        with pytest.raises(SearchError, match=r"within 0\.1 seconds") as error:
            await searxng.search("q", 5)
        assert error.value.reason == "timeout"
        await asyncio.wait_for(server.left.wait(), 10)


async def test_one_that_is_not_there_is_said() -> None:
    async with image_server() as server:
        port = server.port
    searxng = SearXNG(f"http://127.0.0.1:{port}")
    with pytest.raises(SearchError) as error:
        await searxng.check()
    assert error.value.reason == "unreachable"
    await searxng.close()


async def test_at_the_start_it_is_asked_whether_it_gives_json_and_for_nothing_else() -> None:
    async with asked(response(b'{"error": "No query"}', status="400 Bad")) as (searxng, server):
        await searxng.check()
        assert sent(server) == {"format": "json"}
    async with asked(response(b"", status="403 Forbidden")) as (searxng, _):
        with pytest.raises(SearchError, match=r"search\.formats"):
            await searxng.check()
