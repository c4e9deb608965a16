"""Asks an operator's SearXNG, through its JSON API. Knows nothing of requests.

    GET /search?q=…&format=json        {"results": [{"url", "title", "content", …}, …], …}

Results come in the order of their scores.
"""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from typing import Any, cast

import httpx

from serve.search.types import Reason, SearchError, SearchSettings, Source, UserLocation

logger = logging.getLogger(__name__)

# What its query syntax takes for orders at the beginning of a word: !engine !!site :language <3
_ORDERS = re.compile(r"(?<!\S)[!:<]+")
# Of UTF-16's pairs: JSON may have them alone.
_HALVES = re.compile("[\ud800-\udfff]")
_MOST_TEXT = 20_000
_SECRETIVE = (
    "does not give JSON: put json into search.formats of its settings.yml, beside html, and see "
    "that its limiter lets this server through"
)


class SearXNG:
    """Asks; belongs to one event loop.

    Args:
        url: of its start page. It is the operator's own, and may be on a private network.
        settings: bounds.
    """

    def __init__(self, url: str, settings: SearchSettings | None = None) -> None:
        self._url = url.rstrip("/") + "/search"
        self._settings = settings or SearchSettings()
        self._http = httpx.AsyncClient(
            # What is packed may unpack to any size.
            headers={"User-Agent": "parlance", "Accept-Encoding": "identity"},
            timeout=self._settings.seconds,
        )

    async def check(self) -> None:
        """See that it answers, and in JSON. Without a query it asks nobody else.

        Raises:
            SearchError: it does not.
        """
        await self._get({"format": "json"}, expected=400)

    async def search(
        self, query: str, most: int, location: UserLocation | None = None
    ) -> list[Source]:
        """What it finds, the likeliest first.

        Places are known to it as words of the query; of the country, a language's region too.

        Raises:
            SearchError: it did not answer in time, or nothing that can be read.
        """
        near = location or UserLocation()
        text = query
        for place in (near.city, near.region, near.country):
            if place and f" {place} " not in f" {text} ":
                text = f"{text} {place}"
        asked = {"q": _ORDERS.sub("", text).strip(), "format": "json"}
        if language := self._settings.language:
            asked["language"] = (
                f"{language}-{near.country.upper()}"
                if near.country and "-" not in language
                else language
            )
        body = await self._get(asked, expected=200)
        try:
            return list(_sources(json.loads(body), most))
        # RecursionError: nested more deeply than Python reads.
        except (ValueError, RecursionError) as error:
            raise self._failed("bad_answer", f"sent what cannot be read: {error}") from error

    async def close(self) -> None:
        """End its connections."""
        await self._http.aclose()

    async def _get(self, asked: dict[str, str], *, expected: int) -> bytes:
        seconds = self._settings.seconds
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.stream("GET", self._url, params=asked) as response,
            ):
                return await self._body(response, expected)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._failed("timeout", f"did not answer within {seconds:g} seconds") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise self._failed("unreachable", f"does not answer: {why}") from error

    async def _body(self, response: httpx.Response, expected: int) -> bytes:
        status = response.status_code
        if status in (401, 403, 429):
            raise self._failed("forbidden", f"answered with {status}, and {_SECRETIVE}")
        if status != expected:
            raise self._failed("bad_answer", f"answered with the status {status}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self._failed("bad_answer", "sent an answer compressed, though asked not to")
        most = self._settings.answer_bytes
        data = bytearray()
        async for piece in response.aiter_raw():
            data += piece
            if len(data) > most:
                raise self._failed("bad_answer", f"sent an answer of more than {most:,} bytes")
        return bytes(data)

    def _failed(self, reason: Reason, what: str) -> SearchError:
        logger.warning("the search server %s %s", self._url, what)
        return SearchError(reason, f"the search server at {self._url} {what}")


def _sources(answer: Any, most: int) -> Iterator[Source]:
    """Raises ValueError for what is no answer of SearXNG. A result that is none is left out."""
    results = cast("dict[str, Any]", answer).get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise ValueError("it has no list of results")  # noqa: TRY004  (like JSON's own)
    seen = set[str]()
    for each in cast("list[Any]", results):
        if len(seen) == most:
            return
        found = _source(cast("dict[str, Any]", each)) if isinstance(each, dict) else None
        if found is not None and found.url not in seen:
            seen.add(found.url)
            yield found


def _source(result: dict[str, Any]) -> Source | None:
    url = _web_url(result.get("url"))
    title, text = _string(result.get("title")), _string(result.get("content"))
    return Source(" ".join(title.split()), url, text) if url and (title or text) else None


def _web_url(value: Any) -> str:
    """The address in ASCII, or "" for what is none of the web."""
    try:
        url = httpx.URL(_string(value).strip())
    except httpx.InvalidURL:
        return ""
    return str(url) if url.scheme in ("http", "https") and url.host else ""


def _string(value: Any) -> str:
    """Cut, and all of it Unicode."""
    return _HALVES.sub("\ufffd", value[:_MOST_TEXT]) if isinstance(value, str) else ""
