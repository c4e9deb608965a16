"""What a request wants before its prompt can be made, and what was made of it.

What is wanted crosses between processes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serve.api.asking.media import AskedMedia, Piece, Shown, part_place
from serve.api.wire.audio import AudioPart
from serve.api.wire.messages import AssistantMessage, Message, TextPart, UserMessage
from serve.api.wire.request import ChatRequest
from serve.api.wire.web_search import CitedSource, ContextSize
from serve.media.patching import PatchedImage
from serve.search.types import UserLocation

# Of the user's messages the last ones say what is asked.
_LAST_SAID = 2


@dataclass(frozen=True, slots=True)
class AskedAnswer:
    """An answer that was spoken before.

    Attributes:
        place: where the request names it.
        id: its name.
    """

    place: str
    id: str


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the user's: texts, and the places of recordings, which are marked true."""

    pieces: Sequence[tuple[str, bool]]

    def text(self, heard: Mapping[str, str]) -> str:
        """What it says, with what was recognized at each place on a line of its own."""
        lines = (f"\n{heard[each]}\n" if recorded else each for each, recorded in self.pieces)
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class AskedSearch:
    """A search.

    Attributes:
        said: the user's last messages, in their order.
        size: how much is to be shown.
        location: of the user.
    """

    said: Sequence[Said]
    size: ContextSize
    location: UserLocation | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, as far as it can be read before this is there.

    Attributes:
        parts: pictures, sound and files, in their order.
        answers: that were spoken.
        search: if it wants one.
    """

    parts: Sequence[AskedMedia] = ()
    answers: Sequence[AskedAnswer] = ()
    search: AskedSearch | None = None

    @property
    def anything(self) -> bool:
        """Whether there is any."""
        return bool(self.parts or self.answers or self.search)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was made of that.

    Attributes:
        shown: what stands for each part in the prompt, for each answer, and for the search.
        images: every view of every picture, in the order of the prompt.
        sources: that were found: that of `[1]` is first.
        unsearched: why there are none, in a word; "" where there was a search, or none is wanted.
    """

    shown: Shown = field(default_factory=dict[str, Sequence[Piece]])
    images: Sequence[PatchedImage] = ()
    sources: Sequence[CitedSource] = ()
    unsearched: str = ""


def answer_place(message: int) -> str:
    """The path of an answer that was spoken."""
    return f"messages[{message}].audio"


def asked_answers(messages: Sequence[Message]) -> list[AskedAnswer]:
    """The answers that a conversation names, in their order."""
    return [
        AskedAnswer(answer_place(index), message.audio.id)
        for index, message in enumerate(messages)
        if isinstance(message, AssistantMessage) and message.audio is not None
    ]


def asked_search(wire: ChatRequest) -> AskedSearch | None:
    """The search that a request wants, if any."""
    options = wire.web_search_options
    if options is None:
        return None
    location = None
    if options.user_location is not None:
        near = options.user_location.approximate
        location = UserLocation(
            *(each or "" for each in (near.city, near.country, near.region, near.timezone))
        )
    said = [
        _said(index, message)
        for index, message in enumerate(wire.messages)
        if isinstance(message, UserMessage)
    ]
    return AskedSearch(said[-_LAST_SAID:], options.search_context_size or "medium", location)


def _said(index: int, message: UserMessage) -> Said:
    if isinstance(message.content, str):
        return Said([(message.content, False)])
    return Said(
        [
            (part.text, False) if isinstance(part, TextPart) else (part_place(index, number), True)
            for number, part in enumerate(message.content)
            if isinstance(part, TextPart | AudioPart)
        ]
    )
