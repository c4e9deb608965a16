"""Files that are no pictures, are broken, or are meant to do harm: made when they are called."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

MEBIBYTE = 2**20
# Of those that are as large as a file may be.
LARGE = 19 * MEBIBYTE


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def slope(width: int = 64, height: int = 48) -> Image.Image:
    """A picture with some of everything."""
    rows, columns = np.mgrid[:height, :width]
    colours = [columns * 255 // width, rows * 255 // height, (rows * columns) % 256]
    return Image.fromarray(np.stack(colours, axis=2).astype(np.uint8))


def chunk(name: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG file up to its first chunk: eight bits of red, green and blue."""
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    )


def png_with(*chunks: bytes) -> bytes:
    """A picture with chunks between its header and its pixels."""
    file = saved(slope(), "PNG")
    return file[:33] + b"".join(chunks) + file[33:]


def png_of_size(width: int, height: int) -> bytes:
    """Whose header says so, with few pixels."""
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return png_header(width, height) + pixels + chunk(b"IEND", b"")


def png_of_empty_pieces() -> bytes:
    """The pixels come after a million chunks of them that are empty."""
    file = saved(slope(), "PNG")
    start = file.index(b"IDAT") - 4
    return file[:start] + chunk(b"IDAT", b"") * 1_500_000 + file[start:]


def png_with_broken_pixels() -> bytes:
    """Whose pixels are not what zlib made."""
    return png_header(64, 48) + chunk(b"IDAT", b"\x78\x9c" + b"?" * 300) + chunk(b"IEND", b"")


def packed(name: bytes, count: int) -> bytes:
    """Chunks of a kilobyte, each of which unpacks to nearly a megabyte."""
    return chunk(name, b"a\0\0" + zlib.compress(bytes(1_000_000))) * count


def jpeg_of_size(width: int, height: int) -> bytes:
    """Whose header says so."""
    file = bytearray(saved(slope(), "JPEG"))
    frame = file.index(b"\xff\xc0")
    file[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(file)


def jpeg_of_endless_scans() -> bytes:
    """16 million pixels, gone over again and again."""
    file = saved(Image.new("L", (4000, 4000), 128), "JPEG", progressive=True, quality=95)
    table = file.rindex(b"\xff\xc4")
    last_scan = file[table:-2]
    return file[:-2] + last_scan * ((LARGE - len(file)) // len(last_scan)) + b"\xff\xd9"


def jpeg_without(marker: bytes) -> bytes:
    """Without the first segment of a kind."""
    file = saved(slope(), "JPEG")
    start = file.index(marker)
    length = int.from_bytes(file[start + 2 : start + 4])
    return file[:start] + file[start + 2 + length :]


def gif_with_comment(piece: bytes) -> bytes:
    """A comment in many pieces before the picture."""
    file = saved(slope().quantize(16), "GIF")
    pieces = (bytes([len(piece)]) + piece) * (LARGE // (len(piece) + 1))
    return file[:61] + b"!\xfe" + pieces + b"\0" + file[61:]


def gif_of_size(width: int, height: int) -> bytes:
    """Whose screen is so large."""
    file = saved(slope().quantize(16), "GIF")
    return file[:6] + struct.pack("<HH", width, height) + file[10:]


def gif_beyond_its_screen() -> bytes:
    """A small screen, and a frame of 65,535 × 65,535 pixels."""
    file = bytearray(saved(slope().quantize(16), "GIF"))
    frame = file.index(b",", 61)
    file[frame + 5 : frame + 9] = struct.pack("<HH", 65_535, 65_535)
    return bytes(file)


def animated(kind: str) -> bytes:
    """Two frames."""
    frames = [slope().rotate(180)]
    return saved(slope(), kind, save_all=True, append_images=frames, duration=100)


def webp(body: bytes) -> bytes:
    """A container of this."""
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_of_size(side: int) -> bytes:
    """An extended header that says so, and a small picture."""
    size = struct.pack("<I", side - 1)[:3]
    header = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return webp(header + saved(slope(), "WEBP")[12:])


def half(file: bytes) -> bytes:
    """Its first half."""
    return file[: len(file) // 2]


BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: b"\x89",
    "text": lambda: b"This is no picture.",
    "NUL bytes": lambda: bytes(1000),
    "a web page": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "PDF": lambda: b"%PDF-1.7\n" + b"%" * 100,
    "ZIP": lambda: b"PK\x03\x04" + bytes(100),
    "BMP": lambda: saved(slope(), "BMP"),
    "TIFF": lambda: saved(slope(), "TIFF"),
    "ICO": lambda: saved(slope(), "ICO"),
    "PPM": lambda: saved(slope(), "PPM"),
    "HEIC": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "AVIF": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(100),
    "a file that is too large": lambda: saved(slope(), "PNG") + bytes(21 * MEBIBYTE),
    "PNG, its signature alone": lambda: saved(slope(), "PNG")[:8],
    "PNG, cut in its header": lambda: saved(slope(), "PNG")[:25],
    "PNG, cut in its pixels": lambda: half(saved(slope(), "PNG")),
    "PNG without pixels": lambda: png_header(64, 48) + chunk(b"IEND", b""),
    "PNG whose header has another checksum": lambda: png_with().replace(b"IHDR\0", b"IHDR\1", 1),
    "PNG with broken pixels": png_with_broken_pixels,
    "PNG without width": lambda: png_of_size(0, 48),
    "PNG of 2,500 million pixels": lambda: png_of_size(50_000, 50_000),
    "PNG of 2 thousand million columns": lambda: png_of_size(2**31 - 1, 1),
    "PNG of one row and 40,000 columns": lambda: png_of_size(40_000, 1),
    "PNG of a million chunks": lambda: png_with(chunk(b"teSt", b"") * 1_500_000),
    "PNG of a million pieces": png_of_empty_pieces,
    "PNG of packed text": lambda: png_with(packed(b"zTXt", 15_000)),
    "PNG of packed profiles": lambda: png_with(packed(b"iCCP", 15_000)),
    "PNG, animated": lambda: animated("PNG"),
    "JPEG, its beginning alone": lambda: b"\xff\xd8\xff",
    "JPEG, cut in its header": lambda: saved(slope(), "JPEG")[:100],
    "JPEG, cut in its pixels": lambda: half(saved(slope(400, 300), "JPEG")),
    "JPEG without a frame": lambda: jpeg_without(b"\xff\xc0"),
    "JPEG without its tables": lambda: jpeg_without(b"\xff\xdb"),
    "JPEG of 4,290 million pixels": lambda: jpeg_of_size(65_500, 65_500),
    "JPEG without height": lambda: jpeg_of_size(64, 0),
    "JPEG of endless scans": jpeg_of_endless_scans,
    "JPEG of a million segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * (LARGE // 4),
    "JPEG of nothing but markers' beginnings": lambda: b"\xff\xd8" + b"\xff" * LARGE,
    "GIF, its header alone": lambda: saved(slope(), "GIF")[:13],
    "GIF, cut in its pixels": lambda: half(saved(slope(400, 300), "GIF")),
    "GIF of 4,290 million pixels": lambda: gif_of_size(65_500, 65_500),
    "GIF with a frame beyond its screen": gif_beyond_its_screen,
    "GIF with a comment in long pieces": lambda: gif_with_comment(b"x" * 255),
    "GIF with a comment in short pieces": lambda: gif_with_comment(b"x"),
    "GIF, animated": lambda: animated("GIF"),
    "WebP, its header alone": lambda: saved(slope(), "WEBP")[:12],
    "WebP, cut in its pixels": lambda: half(saved(slope(400, 300), "WEBP")),
    "WebP of nothing known": lambda: webp(b"VP8 \x0a\0\0\0" + b"?" * 10),
    "WebP of 281 million million pixels": lambda: webp_of_size(2**24),
    "WebP of 268 million pixels": lambda: webp_of_size(16_383),
    "WebP, animated": lambda: animated("WEBP"),
}
