"""Makes of a request's pictures and files what the model is shown. Imports the extra `media`.

    messages[0].content[1]  image_url →                            a picture's views
    messages[0].content[2]  file      → "File …\\nPage 1 is …", a page's views, "Page 2 is blank."

Texts and numbers of tokens go into the prompt, wherever it is rendered; patches stay here and go
straight to the engine.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serve.api.asking.bounds import context_exceeded
from serve.api.asking.media import AskedMedia, Piece
from serve.api.asking.to_store import store_off
from serve.api.asking.waiting_room import MOST_WAITING_BODIES, WaitingRoom
from serve.api.asking.wanted import Gathered
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo
from serve.api.wire.media import FileContent, FilePart, ImagePart, MediaPart
from serve.media.documents.block import block
from serve.media.documents.document import Document
from serve.media.documents.file_data import unpacked
from serve.media.documents.names import shown_name
from serve.media.documents.reader import DocumentReader
from serve.media.documents.transfer import Refused, error_of
from serve.media.errors import MediaError
from serve.media.gather import ImageGatherer, PartError, TooManyTokensError
from serve.media.gather import ImagePart as NamedImage
from serve.media.patching import PatchedImage
from serve.media.picture import Picture

MOST_FILES = 32
# Of all requests, whose bytes are in memory beside bodies: one that is read, and the next.
_FILES_TOGETHER = 2
# Requests whose pictures and files are worked at; the others wait for their turn.
PLACES = 8


class FileSource(Protocol):
    """Uploaded files."""

    async def size(self, owner: str, file_id: str) -> tuple[str, int] | None:
        """The name of one of an owner's files, and its bytes; None where there is none.

        Raises:
            ApiError: 503; it cannot be found out.
        """
        ...

    async def content(self, file_id: str) -> bytes:
        """The content of a file that `size` has told of.

        Raises:
            ApiError: 503; it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class MediaGatherer:
    """Reads what requests bring; belongs to one event loop.

    Attributes:
        images: makes patches of pictures; None for a model that does not see.
        documents: reads files.
        files: where uploaded files are kept, if they are.
        context: most tokens of a prompt.
        waiting_room: requests wait there.
        room: turns at files.
    """

    images: ImageGatherer | None
    documents: DocumentReader
    files: FileSource | None
    context: int
    waiting_room: WaitingRoom
    room: asyncio.Semaphore

    @classmethod
    def of(
        cls,
        images: ImageGatherer | None,
        documents: DocumentReader,
        files: FileSource | None,
        context: int,
        most_bytes: int,
    ) -> "MediaGatherer":
        """One with its rooms.

        Args:
            images: as above.
            documents: as above.
            files: as above.
            context: as above.
            most_bytes: of a body.
        """
        waiting_room = WaitingRoom(PLACES, MOST_WAITING_BODIES * most_bytes)
        room = asyncio.Semaphore(_FILES_TOGETHER)
        return cls(images, documents, files, context, waiting_room, room)

    async def gather(self, parts: Sequence[AskedMedia], owner: str, caller: str) -> Gathered:
        """What stands for each part, when it is the caller's turn.

        Args:
            parts: of a request, in their order.
            owner: whose uploaded files are read.
            caller: whose request it is.

        Raises:
            ApiError: 400, one of them cannot be taken, or they have no room in the context; 413,
                one is too large; 429, too many requests wait; 503, uploaded files cannot be read.
        """
        await self.waiting_room.take(caller, _weight(parts), large=False)
        try:
            return await self._gathered(parts, owner)
        except PartError as error:
            raise _refused(error) from error
        except TooManyTokensError as error:
            raise context_exceeded(f"more than {self.context}", self.context) from error
        finally:
            self.waiting_room.release(large=False)

    async def _gathered(self, parts: Sequence[AskedMedia], owner: str) -> Gathered:
        files = await self._files(parts, owner)
        made = {**files, **await self._pictures(parts, self.context - _tokens(files))}
        pieces = [piece for part in parts for piece in made[part.place]]
        return Gathered(
            {part.place: [_told(piece) for piece in made[part.place]] for part in parts},
            [image for piece in pieces if not isinstance(piece, str) for image in piece],
        )

    async def _pictures(self, parts: Sequence[AskedMedia], most_tokens: int) -> "_Made":
        named = [
            NamedImage(each.place, each.part.image_url.url, each.part.image_url.detail or "auto")
            for each in parts
            if isinstance(each.part, ImagePart)
        ]
        # For a model that does not see drafters refuse pictures.
        if not named or self.images is None:
            return {}
        views = await self.images.gather(named, most_tokens)
        return {part.place: [images] for part, images in zip(named, views, strict=True)}

    async def _files(self, parts: Sequence[AskedMedia], owner: str) -> "_Made":
        """One after the other, as they are read."""
        made: dict[str, list[str | list[PatchedImage]]] = {}
        characters = pictures = 0
        for each in parts:
            if not isinstance(each.part, FilePart):
                continue
            # Each is kept in memory until the model has seen it.
            sees = self.images is not None and pictures < self.documents.limits.pictures
            try:
                _check_count(len(made))
                document = await self._document(each.place, each.part.file, owner, sees=sees)
                characters += sum(len(page.text) for page in document.pages)
                _check_characters(characters, self.documents.limits.characters)
                pictures += sum(page.picture is not None for page in document.pages)
                made[each.place] = await self._shown(document)
            except MediaError as error:
                raise PartError(each.place, error) from error
        return made

    async def _document(self, place: str, file: FileContent, owner: str, *, sees: bool) -> Document:
        async with self.room:
            name, declared, data = await self._opened(place, file, owner)
            return await self.documents.read(name, data, declared=declared, pictures=sees)

    async def _shown(self, document: Document) -> list[str | list[PatchedImage]]:
        pieces: list[str | list[PatchedImage]] = []
        for piece in block(document):
            if isinstance(piece, str):
                pieces.append(piece)
            elif self.images is not None:
                pieces.append(await self.images.patches_of(Picture(piece)))
        return pieces

    async def _opened(self, place: str, file: FileContent, owner: str) -> tuple[str, str, bytes]:
        """A file's name, its declared type and its content."""
        most = self.documents.limits.bytes
        if file.file_data is None:
            name, data = await self._uploaded(place, file.file_id or "", owner, most)
            return file.filename or name, "", data
        name = file.filename or ""
        try:
            declared, data = await asyncio.to_thread(unpacked, file.file_data, most)
        except MediaError as error:
            raise error_of(shown_name(name), Refused(error.reason, error.code)) from error
        return name, declared, data

    async def _uploaded(self, place: str, file_id: str, owner: str, most: int) -> tuple[str, bytes]:
        if self.files is None:
            raise store_off(f"{place}.file.file_id")
        found = await self.files.size(owner, file_id)
        if found is None:
            raise _unknown(place, file_id)
        name, size = found
        if size > most:
            reason = f"has {size:,} bytes; {most:,} are allowed."
            raise error_of(shown_name(name), Refused(reason, "file_too_large"))
        data = await self.files.content(file_id)
        # It was deleted meanwhile.
        if len(data) != size:
            raise _unknown(place, file_id)
        return name, data


def _check_count(files: int) -> None:
    if files == MOST_FILES:
        raise MediaError(f"a request may have {MOST_FILES} files", "array_above_max_length")


def _check_characters(characters: int, most: int) -> None:
    if characters > most:
        reason = f"the files of a request may have {most:,} characters together"
        raise MediaError(reason, "file_too_large")


def _weight(parts: Sequence[AskedMedia]) -> int:
    """Characters that are kept while they wait."""
    return sum(map(_length, (each.part for each in parts)))


def _length(part: MediaPart) -> int:
    if isinstance(part, ImagePart):
        return len(part.image_url.url)
    return len(part.file.file_data or "") if isinstance(part, FilePart) else 0


_Made = Mapping[str, list[str | list[PatchedImage]]]


def _told(piece: str | list[PatchedImage]) -> Piece:
    return piece if isinstance(piece, str) else tuple(image.tokens for image in piece)


def _tokens(made: _Made) -> int:
    return sum(
        view.tokens
        for pieces in made.values()
        for piece in pieces
        if not isinstance(piece, str)
        for view in piece
    )


def _unknown(place: str, file_id: str) -> ApiError:
    return invalid(
        "file_not_found",
        f"Invalid '{place}': you have no file {echo(file_id)}. It may have expired; upload it "
        f"with POST /v1/files.",
        place,
    )


def _refused(error: PartError) -> ApiError:
    return ApiError(
        413 if error.code.endswith("too_large") else 400,
        f"Invalid '{error.place}': {error.reason.removesuffix('.')}.",
        code=error.code,
        param=error.place,
    )
