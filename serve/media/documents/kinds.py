"""Which kind a file is: by its content first, by its name and its declared type second.

Knows nothing of how a kind is read.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

from serve.media.documents import faults


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that is read.

    Attributes:
        name: as people and models are told.
        extensions: of its files' names, in lower case.
        media_types: that it is declared as.
        is_text: whether its content is characters, which any other text could be too.
    """

    name: str
    extensions: frozenset[str]
    media_types: frozenset[str]
    is_text: bool = True


PDF = Kind(
    "PDF", frozenset({"pdf"}), frozenset({"application/pdf", "application/x-pdf"}), is_text=False
)
DOCX = Kind(
    "DOCX",
    frozenset({"docx"}),
    frozenset({"application/vnd.openxmlformats-officedocument.wordprocessingml.document"}),
    is_text=False,
)
HTML = Kind(
    "HTML", frozenset({"html", "htm", "xhtml"}), frozenset({"text/html", "application/xhtml+xml"})
)
MARKDOWN = Kind(
    "Markdown", frozenset({"md", "markdown"}), frozenset({"text/markdown", "text/x-markdown"})
)
# Windows declares CSV as what opens it there.
CSV = Kind(
    "CSV",
    frozenset({"csv", "tsv"}),
    frozenset(
        {
            "text/csv",
            "application/csv",
            "text/tab-separated-values",
            "application/vnd.ms-excel",
        }
    ),
)
JSON = Kind("JSON", frozenset({"json", "jsonl"}), frozenset({"application/json", "text/json"}))
TEXT = Kind("text", frozenset({"txt", "text", "log"}), frozenset({"text/plain"}))
KINDS = (PDF, DOCX, HTML, MARKDOWN, CSV, JSON, TEXT)
ALLOWED = "Files can be PDF, DOCX, HTML, Markdown, CSV, JSON and other text"

# What is known well enough to be refused by its name: title, how it begins, extensions.
_OTHERS: tuple[tuple[str, bytes, frozenset[str]], ...] = (
    ("a PNG image", b"\x89PNG", frozenset({"png"})),
    ("a JPEG image", b"\xff\xd8\xff", frozenset({"jpg", "jpeg"})),
    ("a GIF image", b"GIF8", frozenset({"gif"})),
    ("a RIFF file (WebP, WAV)", b"RIFF", frozenset({"webp", "wav"})),
    ("an old Office file", b"\xd0\xcf\x11\xe0", frozenset({"doc", "xls", "ppt", "msg"})),
    ("RTF", b"{\\rtf", frozenset({"rtf"})),
    ("a ZIP archive", b"PK\x03\x04", frozenset({"zip", "xlsx", "pptx", "odt", "ods", "epub"})),
    ("an empty ZIP archive", b"PK\x05\x06", frozenset()),
    ("a gzip file", b"\x1f\x8b", frozenset({"gz", "tgz"})),
    ("a 7z archive", b"7z\xbc\xaf", frozenset({"7z"})),
    ("a program", b"\x7fELF", frozenset({"so", "exe", "dll"})),
)
_ARCHIVE = b"PK\x03\x04"
_PDF_MARK = b"%PDF-"
# Readers look for the mark so far into a file.
_PDF_MARK_WITHIN = 1024
_NOT_TEXT = ("image/", "audio/", "video/", "font/")


def kind_of(name: str, declared: str, data: bytes) -> Kind:
    """The kind of a file.

    Args:
        name: of the file, or "".
        declared: media type that it came with, without parameters, in lower case; or "".
        data: its content, not empty.

    Raises:
        MediaError: it is none of ours, or says by its name or type to be what it is not.
    """
    extension = PurePosixPath(name).suffix[1:].lower()
    by_name = next((kind for kind in KINDS if extension in kind.extensions), None)
    by_type = next((kind for kind in KINDS if declared in kind.media_types), None)
    found = _binary_kind(data, claimed=PDF in (by_name, by_type))
    for claimed, by in ((by_name, "name"), (by_type, "declared type")):
        if claimed is not None and claimed is not found and (found or not claimed.is_text):
            is_now = found.name if found else "no " + claimed.name
            raise faults.broken(f"says by its {by} that it is {claimed.name}, but is {is_now}.")
    if found is None:
        _refuse_lies(extension, declared)
    return found or by_name or by_type or (HTML if _begins_as_html(data) else TEXT)


def _binary_kind(data: bytes, *, claimed: bool) -> Kind | None:
    """PDF or DOCX, or None of what may be text."""
    if data[: 2 * _PDF_MARK_WITHIN].lstrip().startswith(_PDF_MARK):
        return PDF
    # Anywhere near the beginning it may as well be a text about PDF.
    if claimed and _PDF_MARK in data[:_PDF_MARK_WITHIN]:
        return PDF
    if data.startswith(_ARCHIVE) and _is_word(data):
        return DOCX
    for title, mark, _ in _OTHERS:
        if data.startswith(mark):
            hint = " Send it as an image_url part." if "image" in title else ""
            raise faults.unsupported(f"is {title}, which is not read. {ALLOWED}.{hint}")
    return None


def _is_word(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise faults.broken("is a ZIP archive that is damaged or cut off.") from error
    # Not always word/document.xml: the archive's own list of parts says which.
    return "[Content_Types].xml" in names and any(each.startswith("word/") for each in names)


def _refuse_lies(extension: str, declared: str) -> None:
    """Of a file that may be text."""
    for title, _, extensions in _OTHERS:
        if extension in extensions:
            raise faults.broken(f"says by its name that it is {title}, but is not. {ALLOWED}.")
    if declared.startswith(_NOT_TEXT):
        raise faults.broken(f"is declared as {declared}, but is not. {ALLOWED}.")


def _begins_as_html(data: bytes) -> bool:
    beginning = data[:_PDF_MARK_WITHIN].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return beginning.startswith((b"<!doctype html", b"<html"))
