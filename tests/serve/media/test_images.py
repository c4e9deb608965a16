"""Files become pictures as they are meant to be seen; bad ones do no harm."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.bad_images import BAD, chunk, png_header, png_with, saved, slope

from serve.media.errors import MediaError
from serve.media.images import read_picture
from serve.media.limits import PictureLimits

LIMITS = PictureLimits(seconds=0.5)
WHITE = [255, 255, 255]


def read(file: bytes, **limits: Any) -> np.ndarray:
    return read_picture(file, PictureLimits(**limits)).pixels


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_and_a_good_one_is_read_after_it(name: str) -> None:
    file = BAD[name]()
    with pytest.raises(MediaError) as fault:
        read_picture(file, LIMITS)
    assert fault.value.reason.startswith("this ")
    assert fault.value.code.split("_")[-1] in {"file", "error", "type", "large"}
    assert read_picture(saved(slope(), "PNG"), LIMITS).pixels.shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("empty", "empty_image_file"),
        ("BMP", "unsupported_image_media_type"),
        ("GIF, animated", "unsupported_image_media_type"),
        ("PNG, animated", "unsupported_image_media_type"),
        ("WebP, animated", "unsupported_image_media_type"),
        ("a file that is too large", "image_file_too_large"),
        ("PNG of 2,500 million pixels", "image_too_large"),
        ("PNG of one row and 40,000 columns", "image_too_large"),
        ("JPEG of 4,290 million pixels", "image_too_large"),
        ("GIF of 4,290 million pixels", "image_too_large"),
        ("PNG, cut in its pixels", "image_parse_error"),
    ],
)
def test_the_code_says_what_is_wrong(name: str, code: str) -> None:
    with pytest.raises(MediaError) as fault:
        read_picture(BAD[name](), LIMITS)
    assert fault.value.code == code


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_what_loses_nothing_is_the_same(kind: str) -> None:
    image = slope().quantize(16).convert("RGB")
    np.testing.assert_array_equal(read(saved(image, kind)), np.asarray(image))


def test_webp_without_loss_is_the_same() -> None:
    file = saved(slope(), "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(read(file), np.asarray(slope()))


@pytest.mark.parametrize("settings", [{}, {"progressive": True}])
def test_jpeg_is_what_pillow_makes_of_it(settings: dict[str, Any]) -> None:
    file = saved(slope(), "JPEG", quality=90, comment=b"x" * 100, **settings)
    np.testing.assert_array_equal(read(file), np.asarray(Image.open(io.BytesIO(file))))


def test_jpeg_of_cameras_with_a_second_picture_is_its_first() -> None:
    file = saved(slope(), "MPO", save_all=True, append_images=[slope().rotate(180)])
    first = Image.open(io.BytesIO(file))
    assert first.format == "MPO"
    np.testing.assert_array_equal(read(file), np.asarray(first))


def test_jpeg_of_four_inks() -> None:
    # Full cyan, and no ink: within what the conversion and the loss leave.
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16, 0] = 255
    pixels = read(saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)).astype(int)
    assert np.abs(pixels[8, 4] - [0, 255, 255]).max() <= 4
    assert np.abs(pixels[8, 28] - WHITE).max() <= 4


def test_jpeg_whose_colours_only_adobe_s_segment_tells() -> None:
    file = bytearray(saved(Image.new("RGB", (16, 16), (250, 10, 20)), "JPEG", keep_rgb=True))
    frame, scan = file.index(b"\xff\xc0"), file.index(b"\xff\xda")
    # The names of the components say nothing any more.
    for number in range(3):
        file[frame + 10 + 3 * number] = file[scan + 5 + 2 * number] = number + 1
    assert np.abs(read(bytes(file))[8, 8].astype(int) - [250, 10, 20]).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_is_on_white(kind: str) -> None:
    dots = np.zeros((1, 3, 4), np.uint8)
    dots[0] = [[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 51]]
    settings = {"lossless": True} if kind == "WEBP" else {}
    pixels = read(saved(Image.fromarray(dots), kind, **settings))
    # A fifth of black leaves 204 of 255.
    assert pixels[0].tolist() == [[200, 0, 0], WHITE, [204, 204, 204]]


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for kind in ("PNG", "GIF"):
        pixels = read(saved(image, kind, transparency=1))
        assert pixels[0].tolist() == [[10, 20, 30], WHITE, [70, 80, 90]]


def test_a_transparent_grey_is_white() -> None:
    image = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert read(saved(image, "PNG", transparency=8))[0].tolist() == [[7, 7, 7], WHITE]


def test_grey_and_black_and_white() -> None:
    grey = Image.fromarray(np.array([[0, 128, 255]], np.uint8))
    assert read(saved(grey, "PNG"))[0].tolist() == [[0] * 3, [128] * 3, WHITE]
    assert read(saved(grey.convert("1", dither=Image.Dither.NONE), "PNG"))[0].tolist() == [
        [0] * 3,
        WHITE,
        WHITE,
    ]


def test_of_sixteen_bits_the_upper_eight() -> None:
    deep = np.array([[0x0000, 0x1234, 0xFFFF]], np.uint16)
    assert read(saved(Image.fromarray(deep), "PNG"))[0].tolist() == [[0] * 3, [0x12] * 3, WHITE]
    row = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0xFFFF, 0x00FF, 0x0100)
    header = bytearray(png_header(2, 1))
    header[24] = 16
    file = bytes(header[:8]) + chunk(b"IHDR", bytes(header[16:29]))
    file += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert read(file)[0].tolist() == [[0x12, 0x56, 0x9A], [0xFF, 0x00, 0x01]]


# Where the upper left corner of what the camera saw is seen: EXIF's own table.
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1)} | {
    8: (-1, 0)
}


@pytest.mark.parametrize("turned", CORNERS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_cameras_say_which_way_up(kind: str, turned: int) -> None:
    sensor = np.full((32, 48, 3), 255, np.uint8)
    sensor[:16, :16] = 0
    exif = Image.Exif()
    exif[0x0112] = turned
    pixels = read(saved(Image.fromarray(sensor), kind, exif=exif))
    assert pixels.shape == ((48, 32, 3) if turned >= 5 else (32, 48, 3))
    dark = [corner for corner in [(0, 0), (0, -1), (-1, 0), (-1, -1)] if pixels[corner][0] < 50]
    assert dark == [CORNERS[turned]]


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(50),
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\x09\0\0\0",
        b"Exif\0\0?????",
    ],
)
def test_broken_exif_turns_nothing(exif: bytes) -> None:
    np.testing.assert_array_equal(
        read(png_with(chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))), np.asarray(slope())
    )
    file = saved(slope(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    np.testing.assert_array_equal(read(file[:2] + segment + file[2:]), read(file))


def test_a_text_that_is_called_exif_is_none() -> None:
    for piece in (
        chunk(b"zTXt", b"exif\0\0" + zlib.compress(b"II*")),
        chunk(b"tEXt", b"exif\0II*"),
    ):
        np.testing.assert_array_equal(read(png_with(piece)), np.asarray(slope()))


@pytest.mark.timeout(60)
def test_exif_that_names_itself_again_and_again_costs_nothing() -> None:
    entry = struct.pack("<HHII", 1, 1, 18 * 2**20, 8)
    record = b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + entry * 65_535
    record += bytes(18 * 2**20)
    pieces = [b"Exif\0\0" + record[at : at + 65_000] for at in range(0, len(record), 65_000)]
    segments = [b"\xff\xe1" + struct.pack(">H", len(each) + 2) + each for each in pieces]
    file = saved(slope(), "JPEG")
    np.testing.assert_array_equal(read(file[:2] + b"".join(segments) + file[2:]), read(file))
    np.testing.assert_array_equal(read(png_with(chunk(b"eXIf", record))), np.asarray(slope()))


def test_limits_hold_at_their_border() -> None:
    file = saved(slope(64, 48), "PNG")
    assert read(file, pixels=64 * 48, side=64, file_bytes=len(file)).shape == (48, 64, 3)
    for limits in ({"pixels": 64 * 48 - 1}, {"side": 63}, {"file_bytes": len(file) - 1}):
        with pytest.raises(MediaError, match=r"are taken|the most that one may"):
            read(file, **limits)


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def test_pixels_in_pieces_of_some_hundred_bytes_are_no_harm() -> None:
    file = saved(noise(400, 300), "PNG")
    start = file.index(b"IDAT") - 4
    pieces, at = [], start
    while file[at + 4 : at + 8] == b"IDAT":
        length = int.from_bytes(file[at : at + 4])
        data = file[at + 8 : at + 8 + length]
        pieces += [chunk(b"IDAT", data[i : i + 200]) for i in range(0, length, 200)]
        at += length + 12
    assert len(pieces) > 1_500
    np.testing.assert_array_equal(
        read(file[:start] + b"".join(pieces) + file[at:]), np.asarray(noise(400, 300))
    )


def test_the_clock_is_looked_at_often() -> None:
    file = saved(noise(400, 300), "JPEG", quality=95)
    looks = 0

    def stopped() -> bool:
        nonlocal looks
        looks += 1
        return False

    read_picture(file, PictureLimits(), stopped=stopped)
    assert looks > len(file) / 5_000


def test_whoever_stopped_waiting_ends_the_decoding() -> None:
    with pytest.raises(MediaError, match="takes too long"):
        read_picture(saved(slope(), "PNG"), PictureLimits(), stopped=lambda: True)
