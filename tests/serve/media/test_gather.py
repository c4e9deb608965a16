"""The pictures of a request become patches side by side, in their order."""

import asyncio
import base64
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from support.bad_images import BAD, saved
from support.image_server import image_server, response

from serve.media.fetcher import FetchLimits, ImageFetcher
from serve.media.gather import ImageGatherer, ImagePart, PartError, TooManyTokensError
from serve.media.limits import PictureLimits
from serve.media.patching import Detail, PatchedImage
from serve.media.picture import Picture
from serve.media.reader import PictureReader


@pytest.fixture
def reader() -> Iterator[PictureReader]:
    reader = PictureReader(PictureLimits(), threads=2)
    yield reader
    reader.close()


def grey(value: int) -> bytes:
    return saved(Image.new("RGB", (4, 4), (value, value, value)), "PNG")


def written(file: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def first_pixel(picture: Picture, detail: Detail) -> list[PatchedImage]:
    return [PatchedImage.of(picture.pixels[:1, 0], (1, 1), len(detail))]


def parts_of(*urls: str) -> list[ImagePart]:
    return [ImagePart(f"messages[0].content[{n}]", url) for n, url in enumerate(urls)]


async def test_they_come_in_their_order(reader: PictureReader) -> None:
    parts = [ImagePart(f"p{n}", written(grey(n)), "low" if n % 2 else "high") for n in range(20)]
    found = await ImageGatherer(reader, None, first_pixel).gather(parts)
    assert [images[0].patches.tolist() for images in found] == [[[n] * 3] for n in range(20)]
    assert [images[0].tokens for images in found] == [4, 3] * 10


async def test_two_are_worked_at_at_once(reader: PictureReader) -> None:
    both = threading.Barrier(2, timeout=20)

    def meet(picture: Picture, detail: Detail) -> list[PatchedImage]:
        both.wait()
        return first_pixel(picture, detail)

    found = await ImageGatherer(reader, None, meet).gather(parts_of(*[written(grey(9))] * 2))
    assert len(found) == 2


async def test_of_several_faults_the_first_is_told(reader: PictureReader) -> None:
    gatherer = ImageGatherer(reader, None, first_pixel)
    parts = parts_of(written(grey(1)), written(grey(2)[:45]), "data:", "nothing")
    with pytest.raises(PartError) as fault:
        await gatherer.gather(parts)
    assert fault.value.place == "messages[0].content[1]"
    assert fault.value.code == "image_parse_error"
    # And the next request is served.
    assert len(await gatherer.gather(parts[:1])) == 1


async def test_data_that_is_too_long_is_not_even_read() -> None:
    reader = PictureReader(PictureLimits(file_bytes=30), threads=1)
    with pytest.raises(PartError) as fault:
        await ImageGatherer(reader, None, first_pixel).gather(
            parts_of("data:image/png;base64,????" * 3)
        )
    reader.close()
    assert fault.value.code == "image_file_too_large"


async def test_there_are_only_so_many(reader: PictureReader) -> None:
    gatherer = ImageGatherer(reader, None, first_pixel, most=3)
    parts = parts_of(*[written(grey(1))] * 4)
    assert len(await gatherer.gather(parts[:3])) == 3
    with pytest.raises(PartError, match="may have 3 images; this one has 4") as fault:
        await gatherer.gather(parts)
    assert fault.value.place == "messages[0].content[3]"


async def test_of_a_view_there_are_only_so_many_tokens(reader: PictureReader) -> None:
    gatherer = ImageGatherer(reader, None, first_pixel, view_tokens=3)
    low, high = (ImagePart(detail, written(grey(1)), detail) for detail in ("low", "high"))
    assert len(await gatherer.gather([low, low])) == 2
    with pytest.raises(PartError, match="becomes 4 tokens, and one may become 3 here") as fault:
        await gatherer.gather([low, high])
    assert (fault.value.place, fault.value.code) == ("high", "image_too_large")


async def test_with_too_many_tokens_the_rest_is_not_decoded(reader: PictureReader) -> None:
    seen: list[int] = []

    def tell(picture: Picture, detail: Detail) -> list[PatchedImage]:
        seen.append(int(picture.pixels[0, 0, 0]))
        return first_pixel(picture, detail)

    gatherer = ImageGatherer(reader, None, tell, each=1)
    parts = parts_of(*[written(grey(n)) for n in range(20)])
    assert len(await gatherer.gather(parts[:2], 8)) == 2
    seen.clear()
    with pytest.raises(TooManyTokensError):
        await gatherer.gather(parts, 7)
    # The third may have begun.
    assert seen[:2] == [0, 1]
    assert len(seen) <= 3
    # A fault before is told instead.
    with pytest.raises(PartError):
        await gatherer.gather(parts_of("nothing", *[each.url for each in parts]), 7)


async def test_without_the_switch_nothing_is_fetched(reader: PictureReader) -> None:
    gatherer = ImageGatherer(reader, None, first_pixel)
    with pytest.raises(PartError, match="--fetch-images") as fault:
        await gatherer.gather(parts_of("https://pictures.example/cat.png"))
    assert fault.value.code == "invalid_image_url"


async def test_fetched_and_sent_ones_together(reader: PictureReader) -> None:
    async with image_server() as server:
        limits = FetchLimits(ports=frozenset({server.port}), seconds=20)
        fetcher = ImageFetcher(limits, public=lambda address: True)
        server.answers |= {"/1": response(grey(1)), "/2": response(b"no picture")}
        here = f"http://127.0.0.1:{server.port}"
        gatherer = ImageGatherer(reader, fetcher, first_pixel)
        found = await gatherer.gather(parts_of(written(grey(0)), f"{here}/1"))
        assert [images[0].patches[0, 0] for images in found] == [0, 1]
        with pytest.raises(PartError, match="no image that can be read") as fault:
            await gatherer.gather(parts_of(f"{here}/1", f"{here}/2"))
        assert fault.value.place == "messages[0].content[1]"
        await fetcher.close()


async def test_one_request_leaves_room_for_others(reader: PictureReader) -> None:
    begun: list[int] = []
    both = threading.Barrier(2, timeout=20)

    def meet(picture: Picture, detail: Detail) -> list[PatchedImage]:
        begun.append(int(picture.pixels[0, 0, 0]))
        if len(begun) <= 2:
            both.wait()
        return first_pixel(picture, detail)

    gatherer = ImageGatherer(reader, None, meet, together=2, each=1)
    many = asyncio.create_task(gatherer.gather(parts_of(*[written(grey(1))] * 9)))
    few = asyncio.create_task(gatherer.gather(parts_of(written(grey(2)))))
    assert (len(await many), len(await few)) == (9, 1)
    assert sorted(begun[:2]) == [1, 2]


async def test_whoever_leaves_ends_the_work() -> None:
    reader = PictureReader(PictureLimits(), threads=1)
    begun, go_on = threading.Event(), threading.Event()
    made: list[int] = []

    def wait(picture: Picture, detail: Detail) -> list[PatchedImage]:
        made.append(int(picture.pixels[0, 0, 0]))
        begun.set()
        assert go_on.wait(20)
        return first_pixel(picture, detail)

    gatherer = ImageGatherer(reader, None, wait)
    task = asyncio.create_task(gatherer.gather(parts_of(*[written(grey(1))] * 9)))
    await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    # The thread is free again, and has done nothing for the eight that waited.
    assert len(await gatherer.gather(parts_of(written(grey(2))))) == 1
    assert made == [1, 2]
    reader.close()


@pytest.mark.timeout(60)
async def test_whoever_leaves_ends_the_decoding() -> None:
    reader = PictureReader(PictureLimits(seconds=1_000), threads=1)
    begun = threading.Event()

    def endless() -> bytes:
        file = BAD["JPEG of endless scans"]()
        begun.set()
        return file

    task = asyncio.create_task(reader.read(endless, lambda picture: picture))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # There is one thread, and it is free again.
    assert await reader.read(grey(1), lambda picture: picture.width) == 4
    reader.close()


async def test_the_patches_of_equal_pictures_have_one_digest(reader: PictureReader) -> None:
    def whole(picture: Picture, detail: Detail) -> list[PatchedImage]:
        return [PatchedImage.of(picture.pixels.reshape(2, -1), (1, 2), 1)]

    found = await ImageGatherer(reader, None, whole).gather(
        parts_of(*(written(grey(value)) for value in (1, 1, 2)))
    )
    digests = [images[0].digest for images in found]
    assert digests[0] == digests[1] != digests[2]
    assert PatchedImage.of(found[0][0].patches, (2, 1), 1).digest != digests[0]
    np.testing.assert_array_equal(found[0][0].patches, 1)
