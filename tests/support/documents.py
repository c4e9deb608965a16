"""Files of each kind, good and bad, made for the tests of documents."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

import docx
import fpdf
from docx.document import Document
from PIL import Image

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def picture(width: int = 30, height: int = 20) -> Image.Image:
    """Red above blue."""
    made = Image.new("RGB", (width, height), (255, 0, 0))
    made.paste((0, 0, 255), (0, height // 2, width, height))
    return made


def pdf(*pages: str | Image.Image | None, password: str = "") -> bytes:
    """A PDF of pages with text, with a picture of 150 mm over their width, or blank."""
    made = fpdf.FPDF()
    made.set_font("helvetica", size=11)
    if password:
        made.set_encryption(owner_password="owner", user_password=password)
    for page in pages:
        made.add_page()
        if isinstance(page, str):
            made.multi_cell(0, text=page)
        elif page is not None:
            made.image(page, x=30, y=30, w=150)
    return bytes(made.output())


def raw_pdf(*objects: bytes, root: int = 1) -> bytes:
    """A PDF of objects as they are given, numbered from 1."""
    made, places = b"%PDF-1.7\n", list[int]()
    for number, each in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        made
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
        + b"trailer <</Size %d /Root %d 0 R>>\n" % (len(objects) + 1, root)
        + b"startxref\n%d\n%%%%EOF\n" % len(made)
    )


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """A PDF's stream object."""
    return b"<</Length %d %s>>\nstream\n%s\nendstream" % (len(data), entries, data)


def drawn_pdf(content: bytes, *more: bytes, box: bytes = b"0 0 200 200") -> bytes:
    """A PDF of one page: its content is object 4, of Helvetica as F1, and `more` from 6 on."""
    return raw_pdf(
        b"<</Type /Catalog /Pages 2 0 R>>",
        b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
        b"<</Type /Page /Parent 2 0 R /MediaBox [%s] /Contents 4 0 R /Resources"
        b" <</Font <</F1 5 0 R>> /XObject <</X1 6 0 R>>>> >>" % box,
        content,
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>",
        *more,
    )


def form_pdf() -> bytes:
    """A PDF of one page that says `Name:`, and `Ada Lovelace` in a field beside it."""
    filled = b"/Type /XObject /Subtype /Form /BBox [0 0 130 20] /Resources <</Font <</F1 5 0 R>>>>"
    return raw_pdf(
        b"<</Type /Catalog /Pages 2 0 R /AcroForm <</Fields [6 0 R]>>>>",
        b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
        b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Annots [6 0 R]"
        b" /Resources <</Font <</F1 5 0 R>>>>>>",
        stream(b"BT /F1 12 Tf 10 150 Td (Name:) Tj ET"),
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>",
        b"<</Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Ada Lovelace) /F 4"
        b" /Rect [60 145 190 165] /P 3 0 R /AP <</N 7 0 R>>>>",
        stream(b"BT /F1 12 Tf 2 5 Td (Ada Lovelace) Tj ET", filled),
    )


def word(build: Callable[[Document], object]) -> bytes:
    """A DOCX that `build` fills."""
    made = docx.Document()
    build(made)
    packed = io.BytesIO()
    made.save(packed)
    return packed.getvalue()


def word_of(body: str, declarations: str = "") -> bytes:
    """A DOCX whose main part is exactly that: declarations before the root, and the body's XML."""
    xml = f'<?xml version="1.0"?>{declarations}<w:document {W}><w:body>{body}</w:body></w:document>'
    return changed_zip(word(lambda _: None), {"word/document.xml": xml.encode()})


def changed_zip(data: bytes, parts: dict[str, bytes | None]) -> bytes:
    """The archive with these parts replaced, added, or with None taken away."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        kept = {each: old.read(each) for each in old.namelist()}
        for name, content in {**kept, **parts}.items():
            if content is not None:
                new.writestr(name, content)
    return packed.getvalue()


def noise(size: int, seed: int = 7) -> bytes:
    """Bytes that are nothing."""
    return random.Random(seed).randbytes(size)


def spaces_deflated(size: int) -> bytes:
    """That many spaces, as `FlateDecode` takes them."""
    packer = zlib.compressobj(9)
    block = b" " * 2**20
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


def lying_zip(data: bytes, claimed: int) -> bytes:
    """The archive whose directory says that each part unpacks to so many bytes."""
    lied, at = bytearray(data), data.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<I", lied, at + 24, claimed)
        at = data.find(b"PK\x01\x02", at + 4)
    return bytes(lied)


def locked_zip(data: bytes) -> bytes:
    """The archive whose directory says that each part is encrypted."""
    locked, at = bytearray(data), data.find(b"PK\x01\x02")
    while at >= 0:
        locked[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 4)
    return bytes(locked)
