"""An upload as a form of several parts, written to the disk as it comes.

Knows nothing of what the fields mean.
"""

import asyncio
from dataclasses import dataclass, field

from quart import Request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Event,
    Field,
    File,
    MultipartDecoder,
    NeedData,
    State,
)

from serve.api.asking.content_coding import codings_of
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo
from serve.api.wire.files import LONGEST_FILENAME
from serve.store.blobs import Spool

FILE_FIELD = "file"
_MOST_PARTS = 8
# Of a part's head, and of a field.
_MOST_HEAD_BYTES = 8 * 2**10
_MOST_FIELD_BYTES = 1_024
# What a form adds to its file: its other parts at most.
_MOST_FORM_BYTES = _MOST_PARTS * (_MOST_HEAD_BYTES + _MOST_FIELD_BYTES)


@dataclass(slots=True)
class Upload:
    """What has come of a form.

    Attributes:
        filename: of the file; None while it has not begun.
        fields: names and texts of the others.
    """

    filename: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


async def receive(request: Request, spool: Spool, most_bytes: int, idle_seconds: float) -> Upload:
    """Write the file of a form to `spool`.

    Args:
        request: has the form for its body.
        spool: takes the file's content.
        most_bytes: of the file.
        idle_seconds: without a byte after which the rest is not awaited.

    Raises:
        ApiError: 400, it is no such form; 413, its file is too long.
        HTTPException: 408; the rest does not come.
        StoreUnavailableError: the disk does not take it.
    """
    decoder, reader = _decoder(request), _Reader(spool, most_bytes)
    chunks = aiter(request.body)
    try:
        while True:
            try:
                # `wait_for` of Python 3.11 swallows a cancellation that comes with the data.
                async with asyncio.timeout(idle_seconds):
                    data = await anext(chunks)
            except StopAsyncIteration:
                decoder.receive_data(None)
                await reader.take(decoder)
                break
            except TimeoutError as error:
                raise RequestTimeout from error
            decoder.receive_data(data)
            await reader.take(decoder)
    except RequestEntityTooLarge as error:
        raise _malformed(f"it has more than {_MOST_PARTS} parts") from error
    except ValueError as error:
        raise _malformed("it is cut off, or a part has no name or one that is no text") from error
    return reader.upload


def check_length(request: Request, most_bytes: int) -> None:
    """Refuse an upload that says it is too long. Raises ApiError (413)."""
    if (request.content_length or 0) > most_bytes + _MOST_FORM_BYTES:
        raise _too_long(most_bytes)


def _decoder(request: Request) -> MultipartDecoder:
    if codings_of(", ".join(request.headers.getlist("Content-Encoding"))):
        raise ApiError(
            415, "An upload must not be compressed as a whole.", code="unsupported_media_type"
        )
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not 0 < len(boundary) <= 70:
        raise ApiError(
            415,
            f"An upload must be multipart/form-data with a boundary, but its Content-Type is "
            f"{echo(request.content_type or 'missing')}.",
            code="unsupported_media_type",
        )
    return MultipartDecoder(boundary.encode(), max_parts=_MOST_PARTS)


class _Reader:
    """Takes a form's parts as they come."""

    def __init__(self, spool: Spool, most_bytes: int) -> None:
        self.upload = Upload()
        self._spool = spool
        self._most_bytes = most_bytes
        # The name and the text of the field that is being read; None in the file.
        self._field: tuple[str, bytearray] | None = None

    async def take(self, decoder: MultipartDecoder) -> None:
        """Take what is whole of what the decoder has."""
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            await self._take(event)
        # Content is passed on; all else stays with the decoder until it is whole.
        in_content = decoder.state in (State.DATA_START, State.DATA)
        if not in_content and len(decoder.buffer) > _MOST_HEAD_BYTES:
            raise _malformed(f"there are more than {_MOST_HEAD_BYTES} bytes outside of its parts")

    async def _take(self, event: Event) -> None:
        if isinstance(event, File):
            self._begin_file(event)
        elif isinstance(event, Field):
            self._begin_field(event)
        elif isinstance(event, Data):
            if self._field is None:
                await self._more_of_file(event.data)
            else:
                self._more_of_field(event, *self._field)

    def _begin_file(self, event: File) -> None:
        if event.name != FILE_FIELD:
            raise invalid(
                "unknown_parameter", f"Unknown parameter: {echo(event.name)}.", event.name
            )
        if self.upload.filename is not None:
            raise invalid("invalid_value", "Send one file in a request.", FILE_FIELD)
        if not event.filename or len(event.filename) > LONGEST_FILENAME:
            raise invalid(
                "invalid_value",
                f"Invalid 'file': its name has {len(event.filename)} characters; 1 to "
                f"{LONGEST_FILENAME} are allowed.",
                FILE_FIELD,
            )
        self.upload.filename = event.filename
        self._field = None

    def _begin_field(self, event: Field) -> None:
        if not event.name:
            raise _malformed("a part has no name")
        if event.name == FILE_FIELD:
            raise invalid("invalid_type", "The part 'file' must have a file name.", FILE_FIELD)
        self._field = event.name, bytearray()

    async def _more_of_file(self, data: bytes) -> None:
        if self._spool.size + len(data) > self._most_bytes:
            raise _too_long(self._most_bytes)
        if data:
            await self._spool.write(data)

    def _more_of_field(self, event: Data, name: str, text: bytearray) -> None:
        text += event.data
        if len(text) > _MOST_FIELD_BYTES:
            raise invalid(
                "string_above_max_length",
                f"Invalid {echo(name)}: it is longer than {_MOST_FIELD_BYTES} bytes.",
                name,
            )
        if not event.more_data:
            self.upload.fields.append((name, text.decode()))


def _malformed(reason: str) -> ApiError:
    return invalid("invalid_form", f"We could not read the form of your upload: {reason}.")


def _too_long(most_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The file is longer than the {most_bytes} bytes allowed.",
        code="request_too_large",
        param=FILE_FIELD,
    )
