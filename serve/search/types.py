"""What a search is asked, finds, and fails with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

ContextSize: TypeAlias = Literal["low", "medium", "high"]
Reason: TypeAlias = Literal["timeout", "unreachable", "forbidden", "bad_answer", "bad_index"]


@dataclass(frozen=True, slots=True)
class Source:
    """Something that was found.

    Attributes:
        title: on one line; "" if it has none.
        url: where it is.
        text: what of it may answer; "" if only the title was found.
    """

    title: str
    url: str
    text: str


@dataclass(frozen=True, slots=True)
class UserLocation:
    """About where the user is; "" where nobody said.

    Attributes:
        city: free text.
        country: two letters, as ISO 3166-1 has them.
        region: free text.
        timezone: as IANA has them, `America/Chicago`.
    """

    city: str = ""
    country: str = ""
    region: str = ""
    timezone: str = ""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Bounds of one search.

    Attributes:
        seconds: from the question to the last byte.
        answer_bytes: of a search server's answer. One of twenty results has a tenth of that.
        language: that a search server is asked for, as `de` or `de-AT`; its own, if it is "".
    """

    seconds: float = 5.0
    answer_bytes: int = 2**20
    language: str = ""


class SearchError(Exception):
    """Nothing can be said of what there is.

    Attributes:
        reason: one word, for headers and metrics.
    """

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason


class SearchProvider(Protocol):
    """Where is searched. Belongs to one event loop."""

    async def check(self) -> None:
        """See, at the start, that it can be asked.

        Raises:
            SearchError: it cannot, and what to do.
        """
        ...

    async def search(
        self, query: str, most: int, location: UserLocation | None = None
    ) -> Sequence[Source]:
        """What is found, the likeliest first.

        Args:
            query: in the user's words.
            most: sources that are wanted.
            location: of the user.

        Raises:
            SearchError: it did not answer in time, or nothing that can be read.
        """
        ...

    async def close(self) -> None:
        """End its connections and threads."""
        ...
