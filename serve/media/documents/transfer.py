"""What crosses between the server and the process that reads files, in bounded pieces.

No pickles: what comes back was made by a process that has parsed what strangers send.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod

import numpy as np

from serve.media.documents.document import Document, Page
from serve.media.documents.limits import DocumentLimits
from serve.media.errors import MediaError
from serve.media.file_process import Link, Refused, received

_LINK_BYTES = 64 * 2**10
_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """A file to be read.

    Attributes:
        name: of the file, or "".
        declared: media type that it came with, with its parameters; or "".
        pictures: whether pages without text are wanted as pictures.
    """

    name: str
    declared: str
    pictures: bool


def send_file(link: Link, asked: Asked, data: bytes) -> None:
    """To the process."""
    link.send_bytes(json.dumps(asdict(asked)).encode())
    link.send_bytes(data)


def receive_file(link: Link, limits: DocumentLimits) -> tuple[Asked, bytes]:
    """From the server.

    Raises:
        EOFError: it has closed its end.
    """
    asked = Asked(**json.loads(link.recv_bytes(_LINK_BYTES)))
    return asked, link.recv_bytes(limits.bytes)


def send_answer(link: Link, answer: Document | Refused) -> None:
    """To the server: the texts as JSON, then each picture's pixels."""
    if isinstance(answer, Refused):
        link.send_bytes(json.dumps({"refused": asdict(answer)}).encode())
        return
    pictures = [each.picture for each in answer.pages if each.picture is not None]
    pages = [
        (each.text, each.unreadable, None if each.picture is None else each.picture.shape)
        for each in answer.pages
    ]
    told = {
        "name": answer.name,
        "kind": answer.kind,
        "paged": answer.paged,
        "left_out": answer.left_out,
        "pages": pages,
    }
    link.send_bytes(json.dumps(told).encode())
    for each in pictures:
        link.send_bytes(each.tobytes())


def receive_answer(link: Link, limits: DocumentLimits) -> Document | Refused:
    """From the process.

    Raises:
        EOFError: it has ended.
        OSError: likewise.
        LookupError, RecursionError, TypeError, ValueError: what it says is no answer, or longer
            than any.
    """
    told = json.loads(received(link, limits.answer_bytes))
    if "refused" in told:
        return Refused(**told["refused"])
    shapes = [shape for _, _, shape in told["pages"] if shape is not None]
    if len(told["pages"]) > limits.pages or len(shapes) > limits.pictures:
        raise ValueError("more pages than there may be")
    pages = [_page(link, limits, *each) for each in told.pop("pages")]
    return Document(**told, pages=pages)


def _page(
    link: Link, limits: DocumentLimits, text: str, unreadable: str, shape: Sequence[int] | None
) -> Page:
    if shape is None:
        return Page(text, unreadable=unreadable)
    # Both edges are rounded up, so that a picture may have more than the limit, but not twice that.
    pixels = received(link, 2 * _CHANNELS * (limits.picture_pixels + 1))
    if len(shape) != 3 or shape[2] != _CHANNELS or prod(shape) != len(pixels):
        raise ValueError("a picture of another shape")
    return Page(picture=np.frombuffer(pixels, np.uint8).reshape(shape))


def error_of(name: str, refused: Refused) -> MediaError:
    """What is wrong with the file of that name."""
    return MediaError(f"File {json.dumps(name, ensure_ascii=False)} {refused.reason}", refused.code)
