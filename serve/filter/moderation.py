"""Asks a server of the moderation API what may be said. Knows nothing of requests.

`POST` with `{"input": ["…", …]}` is answered with one result for each text, in their order, each
of which says whether it is `flagged`.
"""

import logging
from collections.abc import Sequence
from typing import Any, cast

import httpx

from serve.filter.moderation_settings import ModerationSettings

logger = logging.getLogger(__name__)

# What errors and metrics call it, beside the categories of a filter.
CATEGORY = "moderation"


class ModerationError(Exception):
    """The server did not say what it was asked, and what nobody has judged is not to be told."""


class Moderation:
    """Asks; belongs to one event loop.

    Args:
        settings: how.
    """

    def __init__(self, settings: ModerationSettings) -> None:
        self._settings = settings
        headers = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=settings.seconds)

    async def flagged(self, texts: Sequence[str]) -> list[bool]:
        """Which of some texts may not be said.

        Raises:
            ModerationError: they could not be judged, and are not allowed without.
        """
        if not texts:
            return []
        try:
            response = await self._http.post(self._settings.url, json={"input": list(texts)})
            response.raise_for_status()
            return _read(response.json(), len(texts))
        # A body that is no JSON is a ValueError.
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            reason = str(error) or type(error).__name__
            logger.warning("%s did not judge a text: %s", self._settings.url, reason)
            if self._settings.unanswered == "allow":
                return [False] * len(texts)
            raise ModerationError(reason) from error

    async def close(self) -> None:
        """End its connections."""
        await self._http.aclose()


def _read(answer: Any, count: int) -> list[bool]:
    """Raises ValueError for what is no answer of the moderation API."""
    results = cast("dict[str, Any]", answer).get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(cast("list[Any]", results)) != count:
        raise ValueError(f"its answer has not {count} results")
    flags = [each.get("flagged") if isinstance(each, dict) else None for each in results]
    if not all(isinstance(flag, bool) for flag in flags):
        raise ValueError("a result does not say whether the text is flagged")
    return cast("list[bool]", flags)
