"""Searches for what a request asks, and makes of what is found a part of its prompt."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serve.api.asking.media import SEARCH, Shown
from serve.api.asking.wanted import AskedSearch
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.web_search import CitedSource
from serve.search.prompt import EXTENTS, show
from serve.search.query import query_of
from serve.search.types import SearchError, SearchProvider

_LOG = logging.getLogger("parlance.api")
# Of a context, so that a conversation has as much.
_PART_OF_CONTEXT = 2
# Each makes the text shorter by what was too much.
_MOST_TRIES = 6


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a search.

    Attributes:
        shown: its text, at the field's place; nothing where there is none.
        sources: those with a number.
        unsearched: why there are none, in a word, if it was not searched.
    """

    shown: Shown
    sources: tuple[CitedSource, ...] = ()
    unsearched: str = ""


def no_search() -> ApiError:
    """There is nowhere to search: 400."""
    return invalid(
        "unsupported_parameter",
        f"Unsupported parameter: '{SEARCH}'. This server does not search: start it with "
        f"--search-url or --search-index.",
        SEARCH,
    )


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches for requests; belongs to one event loop.

    Attributes:
        provider: where.
        tokens: of a text.
        context: most tokens of a prompt.
        on_search: told what came of each: `found`, `nothing`, or why not.
    """

    provider: SearchProvider
    tokens: Callable[[str], int]
    context: int
    on_search: Callable[[str], None]

    async def search(self, asked: AskedSearch, heard: Mapping[str, str]) -> Found:
        """What was found. Whatever fails, the request is answered without it.

        Args:
            asked: by the request.
            heard: what was recognized in each recording.
        """
        query = query_of([each.text(heard) for each in asked.said])
        found = await self._found(asked, query) if query else Found({}, unsearched="no_query")
        self.on_search(found.unsearched or ("found" if found.sources else "nothing"))
        return found

    async def _found(self, asked: AskedSearch, query: str) -> Found:
        extent = EXTENTS[asked.size]
        try:
            sources = await self.provider.search(query, extent.sources, asked.location)
        except SearchError as error:
            _LOG.warning("a search failed: %s", error)
            return Found({}, unsearched=error.reason)
        room, most = self.context // _PART_OF_CONTEXT, None
        for _ in range(_MOST_TRIES):
            shown = show(query, sources, extent, asked.location, most)
            if not shown.text:
                break
            tokens = await asyncio.to_thread(self.tokens, shown.text)
            if tokens <= room:
                named = tuple(CitedSource(each.title, each.url) for each in shown.sources)
                return Found({SEARCH: [shown.text]}, named)
            most = len(shown.text) * room // tokens
        return Found({}, unsearched="no_room")
