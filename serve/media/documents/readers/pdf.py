"""PDF to the text of its pages, and to pictures of those that have none."""

import unicodedata
from collections.abc import Iterator
from math import sqrt
from typing import cast

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from serve.media.documents import faults
from serve.media.documents.document import Page
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.room import Room

# A page is 72 dots an inch at scale 1: small ones are made no finer than 288.
_LARGEST_SCALE = 4.0
# How PDFium tells a hyphen at the end of a line, for which it leaves out the line's end.
_HYPHEN = "\ufffe"
_LOCK = b"/Encrypt"


def pages_of(data: bytes, limits: DocumentLimits, room: Room, *, pictures: bool) -> Iterator[Page]:
    """The pages, one after the other.

    Args:
        data: of a PDF.
        limits: of the file.
        room: for its text.
        pictures: whether pages without text are wanted as such.

    Raises:
        MediaError: it is damaged or locked, or has too many pages or characters.
    """
    document = _opened(data)
    count = len(document)
    if count > limits.pages:
        raise faults.too_large(
            f"has {count:,} pages; {limits.pages} are allowed. Send a part of it."
        )
    if not count:
        raise faults.broken("has no pages that can be read.")
    left = limits.pictures if pictures else 0
    for number in range(count):
        page = _page(document, number, limits, room, pictures=left > 0)
        left -= page.picture is not None
        yield page


def _opened(data: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(data)
        document.init_forms()
    except pdfium.PdfiumError as error:
        # Its last error may be that of another file.
        if error.err_code == pdfium_c.FPDF_ERR_PASSWORD and _LOCK in data:
            raise faults.broken("is locked. Send it without a password.") from error
        raise faults.broken("cannot be read as PDF: it is damaged or cut off.") from error
    return document


def _page(
    document: pdfium.PdfDocument, number: int, limits: DocumentLimits, room: Room, *, pictures: bool
) -> Page:
    try:
        page = _with_what_is_filled_in(document, number)
    except pdfium.PdfiumError:
        return Page(unreadable="it is damaged")
    try:
        text = room.take(_text(page))
        if text:
            return Page(text)
        if _is_blank(page):
            return Page()
        if not pictures:
            return Page(unreadable="it has no readable text")
        return Page(picture=_picture(page, limits.picture_pixels))
    except pdfium.PdfiumError:
        return Page(unreadable="it is damaged")
    finally:
        page.close()


def _with_what_is_filled_in(document: pdfium.PdfDocument, number: int) -> pdfium.PdfPage:
    """The page; what its form's fields hold is part of it."""
    page = document[number]
    if document.formenv is None or not pdfium_c.FPDFPage_GetAnnotCount(page):
        return page
    try:
        page.flatten()
    finally:
        page.close()
    return document[number]


def _text(page: pdfium.PdfPage) -> str:
    textpage = page.get_textpage()
    try:
        text = textpage.get_text_range()
    finally:
        textpage.close()
    lines = text.replace(_HYPHEN, "-\n").replace("\0", "").splitlines()
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return text if _is_readable(text) else ""


def _is_readable(text: str) -> bool:
    """Whether most of it is characters: a font may not say which ones its glyphs are."""
    told = "".join(text.split())
    return sum(unicodedata.category(each)[0] != "C" for each in told) * 2 > len(told)


def _is_blank(page: pdfium.PdfPage) -> bool:
    draws = any(True for _ in page.get_objects(max_depth=1))
    return not draws and not pdfium_c.FPDFPage_GetAnnotCount(page)


def _picture(page: pdfium.PdfPage, most: int) -> npt.NDArray[np.uint8]:
    """uint8 `[height, width, 3]`, RGB."""
    width, height = page.get_size()
    area, longest = max(1.0, width * height), max(1.0, width, height)
    # Edges are rounded up: of a page that is all length, twice as many pixels come at most.
    scale = min(_LARGEST_SCALE, sqrt(most / area), most / longest)
    bitmap = page.render(scale=cast("int", scale), rev_byteorder=True)
    try:
        return np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])
    finally:
        bitmap.close()
