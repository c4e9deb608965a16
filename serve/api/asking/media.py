"""Pictures and files of a request: which it names, and what the model is shown in their places.

What is here crosses between processes. Fetching, decoding and reading is `media_gatherer.py`'s
affair; how prompts write pictures is `serve/text/pictures.py`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from serve.api.wire.errors import invalid
from serve.api.wire.media import FilePart, ImagePart, MediaPart
from serve.api.wire.messages import Message, UserMessage
from serve.text.pictures import Views

# What stands for a part: texts, and pictures as their views.
Piece = str | Views
# The same by the place of the part, such as `messages[0].content[1]`.
Shown = Mapping[str, Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class MediaRefusals:
    """Why this server takes no pictures, and why no files; "" where it does."""

    images: str = ""
    files: str = ""


@dataclass(frozen=True, slots=True)
class AskedMedia:
    """A part that something has to be made of.

    Attributes:
        place: its path in the request.
        part: as it was sent.
    """

    place: str
    part: MediaPart


def asked_media(messages: Sequence[Message], refusals: MediaRefusals) -> list[AskedMedia]:
    """The parts of a request that are pictures or files, in their order.

    Raises:
        ApiError: 400; this server does not take one of them.
    """
    asked = [AskedMedia(place, part) for place, part in _media(messages)]
    for each in asked:
        reason = refusals.images if isinstance(each.part, ImagePart) else refusals.files
        if reason:
            raise invalid(
                "unsupported_parameter",
                f"Unsupported parameter: '{each.place}'. '{each.part.type}' is not taken here: "
                f"{reason}.",
                each.place,
            )
    return asked


def _media(messages: Sequence[Message]) -> Iterator[tuple[str, MediaPart]]:
    for index, message in enumerate(messages):
        if isinstance(message, UserMessage) and isinstance(message.content, list):
            for number, part in enumerate(message.content):
                if isinstance(part, ImagePart | FilePart):
                    yield part_place(index, number), part


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
