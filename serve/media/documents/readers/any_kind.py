"""A file of any kind, read: whichever reader its kind has.

Here alone the readers' packages come in, which the extra `media` brings.
"""

from email.message import Message

from serve.media.documents.document import Document, Page
from serve.media.documents.kinds import DOCX, HTML, PDF, kind_of
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.names import shown_name
from serve.media.documents.room import Room

try:
    from serve.media.documents.readers import encodings, pdf, web_page, word
except ModuleNotFoundError as error:
    raise SystemExit(
        "files in a prompt need the extra media: in the checkout run pip install '.[media]' "
        f"({error})"
    ) from error

# A character has four bytes at most; what is longer as text has no room.
_BYTES_A_CHARACTER = 4


def read(
    name: str, declared: str, data: bytes, limits: DocumentLimits, *, pictures: bool
) -> Document:
    """Read a file.

    Args:
        name: of the file, or "".
        declared: media type that it came with, with its parameters; or "".
        data: not empty.
        limits: of the file.
        pictures: whether pages without text are wanted as pictures.

    Raises:
        MediaError: it is of no kind that is read, broken, or over a limit; without its name.
        Exception: whatever a library makes of broken files.
    """
    media_type, charset = _declared(declared)
    kind = kind_of(name, media_type, data)
    room = Room(limits.characters)
    left_out: list[str] = []
    if kind is PDF:
        pages = list(pdf.pages_of(data, limits, room, pictures=pictures))
        return Document(shown_name(name), kind.name, paged=True, pages=pages)
    if kind is DOCX:
        text, left_out = word.text_of(data, limits.unpacked_bytes)
    elif kind is HTML:
        text = web_page.text_of(data, charset)
    else:
        room.need(len(data) // _BYTES_A_CHARACTER)
        text = encodings.decoded(data, charset).rstrip()
    page = Page(room.take(text))
    return Document(shown_name(name), kind.name, paged=False, pages=[page], left_out=left_out)


def _declared(declared: str) -> tuple[str, str]:
    """A media type in lower case, and the encoding that it names; both may be empty."""
    message = Message()
    message["content-type"] = " ".join(declared.split())
    # Where there is none, or none that can be read, the standard's own answer is text/plain.
    known = "/" in declared
    return (message.get_content_type() if known else ""), str(message.get_param("charset") or "")
