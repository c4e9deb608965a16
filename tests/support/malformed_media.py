"""Parts of pictures and files that are wrong."""

import base64
from typing import Any

from support.seeing import data_url, file, png

TYPE, MISSING, UNKNOWN = "invalid_type", "missing_required_parameter", "unknown_parameter"
VALUE, LATER, EMPTY = "invalid_value", "unsupported_parameter", "empty_string"
LONG = "string_above_max_length"
TEXT = base64.b64encode(b"Buy milk.").decode()
PDF = base64.b64encode(b"%PDF-1.7\nnothing").decode()


def picture(url: Any, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


# Parts, and what each is answered: where in the part, and by which code.
TABLE: list[tuple[Any, str, str]] = [
    # Pictures: the shape.
    ({"type": "image_url"}, ".image_url", MISSING),
    ({"type": "image_url", "image_url": None}, ".image_url", TYPE),
    ({"type": "image_url", "image_url": data_url(png(8, 8))}, ".image_url", TYPE),
    ({"type": "image_url", "image_url": []}, ".image_url", TYPE),
    ({"type": "image_url", "image_url": {}}, ".image_url.url", MISSING),
    ({"type": "image_url", "image_url": {"url": "x"}, "text": "A"}, ".text", UNKNOWN),
    ({"type": "image", "image_url": {"url": "x"}}, ".type", VALUE),
    ({"type": "input_image", "image_url": "x"}, ".type", VALUE),
    ({"type": "video_url", "video_url": {"url": "x"}}, ".type", VALUE),
    ({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}, "", LATER),
    (picture(None), ".image_url.url", TYPE),
    (picture(7), ".image_url.url", TYPE),
    (picture(["x"]), ".image_url.url", TYPE),
    (picture(""), ".image_url.url", EMPTY),
    (picture("x", detail="medium"), ".image_url.detail", VALUE),
    (picture("x", detail=1), ".image_url.detail", TYPE),
    (picture("x", detail=""), ".image_url.detail", VALUE),
    (picture("x", format="png"), ".image_url.format", UNKNOWN),
    # Pictures: what is in them.
    (picture("cat.png"), "", "invalid_image_url"),
    (picture("file:///etc/passwd"), "", "invalid_image_url"),
    (picture("https://user:pass@a.example/a.png"), "", "invalid_image_url"),
    (picture("data:image/png,abc"), "", "invalid_image_url"),
    (picture(data_url(png(8, 8), "image/svg+xml")), "", "unsupported_image_media_type"),
    (picture(data_url(png(8, 8), "image/gif")), "", "unsupported_image_media_type"),
    (picture(data_url(b"abc")), "", "unsupported_image_media_type"),
    (picture(data_url(b"")), "", "empty_image_file"),
    (picture("data:image/png;base64,?"), "", "invalid_base64_image"),
    (picture(data_url(png(8, 8)) + "\n"), "", "invalid_base64_image"),
    (picture(data_url(png(64, 64)[:60])), "", "image_parse_error"),
    (picture(data_url(png(8_000, 32))), "", "invalid_image"),
    # Files: the shape.
    ({"type": "file"}, ".file", MISSING),
    ({"type": "file", "file": TEXT}, ".file", TYPE),
    ({"type": "file", "file": None}, ".file", TYPE),
    ({"type": "file", "file": {"file_data": TEXT}, "text": "A"}, ".text", UNKNOWN),
    (file(), ".file.file_data", MISSING),
    (file(filename="a.txt"), ".file.file_data", MISSING),
    (file(file_data=TEXT, file_id="file-1"), ".file.file_id", VALUE),
    (file(file_data=""), ".file.file_data", EMPTY),
    (file(file_data=1), ".file.file_data", TYPE),
    (file(file_id=""), ".file.file_id", EMPTY),
    (file(file_id=["file-1"]), ".file.file_id", TYPE),
    (file(file_id="f" * 257), ".file.file_id", LONG),
    (file(file_data=TEXT, filename=1), ".file.filename", TYPE),
    (file(file_data=TEXT, filename="n" * 256), ".file.filename", LONG),
    (file(file_data=TEXT, file_url="https://a.example"), ".file.file_url", UNKNOWN),
    # Files: what is in them.
    (file(file_data="?"), "", "invalid_file"),
    (file(file_data="data:text/plain,Hello"), "", "invalid_file"),
    (file(file_data="data:text/plain;base64,"), "", "invalid_file"),
    (file(file_data=PDF), "", "invalid_file"),
    (file(file_data=TEXT, filename="a.pdf"), "", "invalid_file"),
    (file(file_data=data_url(png(8, 8))), "", "unsupported_file"),
    (file(file_data=data_url(b"PK\x05\x06" + bytes(18))), "", "unsupported_file"),
]
