"""All pictures of a request, side by side."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from serve.media.addresses import DataUrl, parse_address
from serve.media.errors import MediaError
from serve.media.fetcher import ImageFetcher
from serve.media.images import check_file_bytes
from serve.media.patching import Detail, PatchedImage
from serve.media.picture import Picture
from serve.media.reader import PictureReader

Processor = Callable[[Picture, Detail], list[PatchedImage]]


@dataclass(frozen=True)
class ImagePart:
    """A picture that a request names.

    Attributes:
        place: where it does, such as `messages[0].content[1]`.
        url: its `image_url.url`.
        detail: how closely it is to be looked at.
    """

    place: str
    url: str
    detail: Detail = "auto"


class PartError(MediaError):
    """What is wrong with a part.

    Attributes:
        place: the part's.
    """

    def __init__(self, place: str, error: MediaError) -> None:
        super().__init__(error.reason, error.code)
        self.place = place


class TooManyTokensError(Exception):
    """The pictures of a request have more tokens than it may."""


class ImageGatherer:
    """Makes patches of pictures; belongs to one event loop, and serves all requests.

    Args:
        reader: decodes.
        fetcher: fetches; None where pictures are taken from requests alone.
        process: makes patches of a picture, as the model wants them.
        together: pictures at a time, of all requests: as many files are in memory.
        each: of these, how many one request may have.
        most: pictures of one request.
        view_tokens: that the model takes of a view at most.
    """

    def __init__(
        self,
        reader: PictureReader,
        fetcher: ImageFetcher | None,
        process: Processor,
        *,
        together: int = 8,
        each: int = 4,
        most: int = 64,
        view_tokens: int = sys.maxsize,
    ) -> None:
        self._reader = reader
        self._fetcher = fetcher
        self._process = process
        self._room = asyncio.Semaphore(together)
        self._each = each
        self._most = most
        self._view_tokens = view_tokens

    async def gather(
        self, parts: Sequence[ImagePart], most_tokens: int = sys.maxsize
    ) -> list[list[PatchedImage]]:
        """The patches of each part's picture, in their order.

        Args:
            parts: name the pictures.
            most_tokens: of all of them.

        Raises:
            PartError: one cannot be taken. Of several, the first in their order.
            TooManyTokensError: those up to one have more; the rest need not be decoded for that.
        """
        if len(parts) > self._most:
            self._refuse_more(parts)
        turn = asyncio.Semaphore(self._each)
        tasks = [asyncio.create_task(self._patches(part, turn)) for part in parts]
        try:
            found: list[list[PatchedImage]] = []
            for task in tasks:
                found.append(await task)
                most_tokens -= sum(view.tokens for view in found[-1])
                if most_tokens < 0:
                    raise TooManyTokensError
            return found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def patches_of(self, picture: Picture) -> list[PatchedImage]:
        """The patches of a picture that is decoded already."""
        return await self._reader.run(lambda: self._views(picture, "auto"))

    def _views(self, picture: Picture, detail: Detail) -> list[PatchedImage]:
        views = self._process(picture, detail)
        tokens = max(view.tokens for view in views)
        if tokens > self._view_tokens:
            raise MediaError(
                f"this image becomes {tokens:,} tokens, and one may become {self._view_tokens:,} "
                "here; send a smaller one, or ask for less detail",
                "image_too_large",
            )
        return views

    def _refuse_more(self, parts: Sequence[ImagePart]) -> NoReturn:
        reason = f"a request may have {self._most} images; this one has {len(parts)}"
        raise PartError(parts[self._most].place, MediaError(reason, "array_above_max_length"))

    async def _patches(self, part: ImagePart, turn: asyncio.Semaphore) -> list[PatchedImage]:
        try:
            async with turn, self._room:
                address = parse_address(part.url)
                if isinstance(address, DataUrl):
                    check_file_bytes(address.most_bytes, self._reader.limits)
                    data = address.image
                else:
                    data = await self._fetching().fetch(address.url)
                return await self._reader.read(
                    data, lambda picture: self._views(picture, part.detail)
                )
        except MediaError as error:
            raise PartError(part.place, error) from error

    def _fetching(self) -> ImageFetcher:
        if self._fetcher is None:
            raise MediaError(
                "this server fetches no images; send the image itself as a data URL "
                "(data:image/png;base64,…), or have the server started with --fetch-images",
                "invalid_image_url",
            )
        return self._fetcher
