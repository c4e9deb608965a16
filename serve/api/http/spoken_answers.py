"""Answers that were spoken, by their names: in the store, or in memory where there is none.

As `serve.api.asking.gatherer.SpokenAnswers`.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from serve.api.asking.gatherer import SpokenAnswers
from serve.api.http.keeping import store_errors
from serve.api.settings import ApiSettings
from serve.api.wire.names import AUDIO_ID
from serve.store.spoken import Spoken

# Characters that are held in memory; the oldest answers make room.
MOST_HELD = 16 * 2**20


class KnownAnswers(SpokenAnswers, Protocol):
    """Where they are known, from their end on."""

    async def keep(self, owner: str, answer_id: str, transcript: str, expires: int) -> None:
        """Know what an owner's answer says, until a time in seconds since 1970.

        Raises:
            ApiError: 503; it cannot be kept.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """In the store.

    Attributes:
        spoken: the store's.
        settings: of the HTTP side.
    """

    spoken: Spoken
    settings: ApiSettings

    async def keep(self, owner: str, answer_id: str, transcript: str, expires: int) -> None:
        """See `KnownAnswers`."""
        with store_errors(self.settings):
            await self.spoken.keep(owner, answer_id, transcript, expires)

    async def transcript(self, owner: str, answer_id: str) -> str | None:
        """See `SpokenAnswers`."""
        if not AUDIO_ID.fullmatch(answer_id):
            return None
        with store_errors(self.settings):
            return await self.spoken.get(owner, answer_id)


class HeldAnswers:
    """In memory, until the server ends."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most = most
        self._held = 0
        self._answers: OrderedDict[tuple[str, str], tuple[int, str]] = OrderedDict()

    async def keep(self, owner: str, answer_id: str, transcript: str, expires: int) -> None:
        """See `KnownAnswers`. All last equally long, so the oldest ones end first."""
        self._answers[owner, answer_id] = expires, transcript
        self._held += len(transcript)
        while self._answers:
            oldest, text = next(iter(self._answers.values()))
            if oldest > time.time() and self._held <= self._most:
                break
            self._held -= len(text)
            self._answers.popitem(last=False)

    async def transcript(self, owner: str, answer_id: str) -> str | None:
        """See `SpokenAnswers`."""
        expires, text = self._answers.get((owner, answer_id), (0, ""))
        return text if expires > time.time() else None
