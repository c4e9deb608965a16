"""What the store keeps, and how lists of it are asked for. Knows nothing of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A completion before it has an answer.

    Attributes:
        id: of the completion.
        owner: whoever may see it.
        created: seconds since 1970.
        model: the name under which lists find it.
        metadata: the request's.
        fields: a JSON object of what else is told of the request.
        messages: the request's, each a JSON object without its id.
    """

    id: str
    owner: str
    created: int
    model: str
    metadata: Mapping[str, str]
    fields: str
    messages: Sequence[str]

    @property
    def size(self) -> int:
        """Bytes of text."""
        labels = sum(len(key) + len(value) for key, value in self.metadata.items())
        return len(self.fields) + sum(map(len, self.messages)) + labels


@dataclass(frozen=True, slots=True)
class StoredCompletion:
    """A completion that has ended.

    Attributes:
        id: of the completion.
        metadata: a JSON object of strings.
        fields: a JSON object of what else is told of the request.
        answer: the completion object in JSON, as it was sent.
    """

    id: str
    metadata: str
    fields: str
    answer: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An upload.

    Attributes:
        id: of the file.
        created: seconds since 1970.
        expires: likewise, or None.
        size: in bytes.
        purpose: what it was uploaded for.
        filename: as it was sent.
    """

    id: str
    created: int
    expires: int | None
    size: int
    purpose: str
    filename: str


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a list is asked for.

    Attributes:
        limit: the most entries.
        after: id of the entry before the first one.
        newest_first: the order.
    """

    limit: int
    after: str | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class CompletionFilter:
    """Which completions are listed.

    Attributes:
        model: the name that they were asked for under; None for any.
        metadata: pairs that they have, all of them.
    """

    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        entries: in the order that was asked for.
        has_more: whether the list goes on.
    """

    entries: Sequence[T]
    has_more: bool
