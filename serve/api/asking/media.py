"""Pictures, sound and files of a request: which it names, and what the model is shown instead.

What is here crosses between processes. Fetching, decoding and reading is the gatherers'
affair; how prompts write pictures is `serve/text/pictures.py`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from serve.api.wire.audio import AudioPart
from serve.api.wire.errors import invalid
from serve.api.wire.media import ImagePart, MediaPart
from serve.api.wire.messages import Message, TextPart, UserMessage
from serve.text.pictures import Views

# What stands for a part: texts, and pictures as their views.
Piece = str | Views
# The field that asks for a search: its place among what is shown.
SEARCH = "web_search_options"
# The same by the place of the part, such as `messages[0].content[1]`.
Shown = Mapping[str, Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class MediaRefusals:
    """Why this server takes no pictures, no files and no sound; "" where it does."""

    images: str = ""
    files: str = ""
    sound: str = ""

    def of(self, part: MediaPart) -> str:
        """Why a part is not taken, if it is not."""
        if isinstance(part, ImagePart):
            return self.images
        return self.sound if isinstance(part, AudioPart) else self.files


@dataclass(frozen=True, slots=True)
class AskedMedia:
    """A part that something has to be made of.

    Attributes:
        place: its path in the request.
        part: as it was sent.
        alone: whether its message has no other.
    """

    place: str
    part: MediaPart
    alone: bool = False


def asked_media(messages: Sequence[Message], refusals: MediaRefusals) -> list[AskedMedia]:
    """The parts of a request that are pictures, sound or files, in their order.

    Raises:
        ApiError: 400; this server does not take one of them.
    """
    asked = list(_media(messages))
    for each in asked:
        if reason := refusals.of(each.part):
            raise invalid(
                "unsupported_parameter",
                f"Unsupported parameter: '{each.place}'. '{each.part.type}' is not taken here: "
                f"{reason}.",
                each.place,
            )
    return asked


def _media(messages: Sequence[Message]) -> Iterator[AskedMedia]:
    for index, message in enumerate(messages):
        if isinstance(message, UserMessage) and isinstance(message.content, list):
            for number, part in enumerate(message.content):
                if not isinstance(part, TextPart):
                    alone = len(message.content) == 1
                    yield AskedMedia(part_place(index, number), part, alone)


def part_place(message: int, part: int) -> str:
    """The path of a part in a request."""
    return f"messages[{message}].content[{part}]"


def views(asked: Sequence[AskedMedia], shown: Shown) -> list[Views]:
    """The views of all pictures of a request, in the order in which its prompt has them."""
    return [piece for each in asked for piece in shown[each.place] if not isinstance(piece, str)]


def size(shown: Shown) -> int:
    """Characters of the texts, and something for each piece."""
    return sum(
        len(piece) if isinstance(piece, str) else 64
        for pieces in shown.values()
        for piece in pieces
    )
