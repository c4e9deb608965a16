"""Files that are no documents, are broken, or are meant to do harm: made when they are called."""

import gzip
import io
import zipfile
from collections.abc import Callable

from support.documents import (
    changed_zip,
    drawn_pdf,
    locked_zip,
    lying_zip,
    noise,
    pdf,
    raw_pdf,
    spaces_deflated,
    stream,
    word,
    word_of,
)

GOOD = pdf("A good file.")
_DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def blank_pdf(pages: int) -> bytes:
    kids = b" ".join(b"%d 0 R" % (number + 3) for number in range(pages))
    page = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>"
    tree = b"<</Type /Pages /Kids [%s] /Count %d>>" % (kids, pages)
    return raw_pdf(b"<</Type /Catalog /Pages 2 0 R>>", tree, *[page] * pages)


def nested(count: int) -> str:
    return "<w:sdt><w:sdtContent>" * count + "</w:sdtContent></w:sdt>" * count


def many_parts() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", "")
        for number in range(20_000):
            archive.writestr(f"word/{number}", "")
    return packed.getvalue()


LAUGHS = "<!DOCTYPE w:document [<!ENTITY a0 'ha'>{}]>".format(
    "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(9))
)
LONG_ENTITY = f"<!DOCTYPE w:document [<!ENTITY a '{'ha' * 50_000}'>]>"
OUTSIDE = "<!DOCTYPE w:document [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"

# Name, declared type, content, what the sentence says; the last is None where it is read.
BAD: dict[str, tuple[str, str, Callable[[], bytes], str | None]] = {
    "empty": ("a.txt", "", lambda: b"", "is empty"),
    "too many bytes": ("a.txt", "", lambda: b"a" * (16 * 2**20 + 1), "16,777,216 are allowed"),
    "pdf cut off": ("a.pdf", "", lambda: pdf("text", "more")[:600], "damaged"),
    "pdf of a header only": ("a.pdf", "", lambda: b"%PDF-1.7\n", "damaged"),
    "pdf of noise": ("a.pdf", "", lambda: b"%PDF-1.7\n" + noise(100_000), "damaged"),
    "locked pdf": ("a.pdf", "", lambda: pdf("secret", password="key"), "is locked"),
    "pdf of 10,000 pages": ("a.pdf", "", lambda: blank_pdf(10_000), "has 10,000 pages"),
    "pdf of 101 pages": ("a.pdf", "", lambda: blank_pdf(101), "101 pages; 100 are allowed"),
    "pdf whose pages are their own": (
        "a.pdf",
        "",
        lambda: raw_pdf(
            b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Kids [2 0 R] /Count 1>>"
        ),
        None,
    ),
    "pdf that lies about its pages": (
        "a.pdf",
        "",
        lambda: raw_pdf(
            b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Kids [] /Count 2147483647>>"
        ),
        "damaged",
    ),
    "pdf without pages": (
        "a.pdf",
        "",
        lambda: raw_pdf(b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Kids [] /Count 0>>"),
        "damaged",
    ),
    "pdf whose table of objects is its own predecessor": (
        "a.pdf",
        "",
        lambda: GOOD.replace(b"trailer\n<<", b"trailer\n<<\n/Prev %d" % GOOD.rindex(b"xref\n0")),
        None,
    ),
    "pdf that draws itself": (
        "a.pdf",
        "",
        lambda: drawn_pdf(
            stream(b"/X1 Do"),
            stream(
                b"/X1 Do /X1 Do",
                b"/Type /XObject /Subtype /Form /BBox [0 0 9 9]"
                b" /Resources <</XObject <</X1 6 0 R>>>>",
            ),
        ),
        "takes too much",
    ),
    "pdf that unpacks to 256 MiB": (
        "a.pdf",
        "",
        lambda: drawn_pdf(stream(spaces_deflated(2**28), b"/Filter /FlateDecode")),
        "takes too much",
    ),
    "pdf of a long text": (
        "a.pdf",
        "",
        lambda: drawn_pdf(
            stream(b"BT /F1 1 Tf 5 TL " + (b"(" + b"ab " * 200 + b") Tj T* ") * 1000 + b"ET")
        ),
        "400,000 characters",
    ),
    "pdf of an endless drawing": (
        "a.pdf",
        "",
        lambda: drawn_pdf(stream(b"0 0 200 200 re f 0 0 m 200 200 l S\n" * 400_000)),
        "takes too much",
    ),
    "pdf of a vast page": (
        "a.pdf",
        "",
        lambda: drawn_pdf(stream(b"0 0 m 9 9 l S"), box=b"0 0 100000000 100000000"),
        None,
    ),
    "pdf of a page that is all length": (
        "a.pdf",
        "",
        lambda: drawn_pdf(stream(b"0 0 m 9 9 l S"), box=b"0 0 100000000 0.001"),
        None,
    ),
    "pdf of a vast picture": (
        "a.pdf",
        "",
        lambda: drawn_pdf(
            stream(b"100 0 0 100 0 0 cm /X1 Do"),
            stream(
                spaces_deflated(2**20),
                b"/Type /XObject /Subtype /Image /Width 60000 /Height 60000 /ColorSpace"
                b" /DeviceRGB /BitsPerComponent 8 /Filter /FlateDecode",
            ),
        ),
        None,
    ),
    "pdf of deep arrays": ("a.pdf", "", lambda: raw_pdf(b"[" * 500_000), "damaged"),
    "docx cut off": ("a.docx", "", lambda: word(lambda _: None)[:2000], "damaged"),
    "docx that unpacks to 65 MiB": (
        "a.docx",
        "",
        lambda: changed_zip(word(lambda _: None), {"word/media/a.bmp": bytes(65 * 2**20)}),
        "unpacks to more than 67,108,864",
    ),
    "docx that lies about its size": (
        "a.docx",
        "",
        lambda: lying_zip(word_of(f"<w:p>{' ' * 10_000_000}</w:p>"), 100),
        "cannot be read as DOCX",
    ),
    "docx of 20,000 parts": ("a.docx", "", many_parts, "more than 10,000 parts"),
    "docx of a billion laughs": (
        "a.docx",
        "",
        lambda: word_of("<w:p><w:r><w:t>&a9;</w:t></w:r></w:p>", LAUGHS),
        "cannot be read as DOCX",
    ),
    "docx of an entity a thousand times": (
        "a.docx",
        "",
        lambda: word_of(f"<w:p><w:r><w:t>{'&a;' * 10_000}</w:t></w:r></w:p>", LONG_ENTITY),
        "cannot be read as DOCX",
    ),
    "docx that looks outside": (
        "a.docx",
        "",
        lambda: word_of("<w:p><w:r><w:t>&a;</w:t></w:r></w:p>", OUTSIDE),
        None,
    ),
    "docx nested deep": ("a.docx", "", lambda: word_of(nested(100_000)), "cannot be read as DOCX"),
    "docx without a document": (
        "a.docx",
        "",
        lambda: changed_zip(
            word(lambda _: None), {"word/document.xml": None, "word/other.xml": b"<a/>"}
        ),
        "cannot be read as DOCX",
    ),
    "locked docx": ("a.docx", "", lambda: locked_zip(word(lambda _: None)), "is encrypted"),
    "docx of a long text": (
        "a.docx",
        "",
        lambda: word(lambda made: made.add_paragraph("ab " * 200_000)),
        "400,000 characters",
    ),
    "another archive": (
        "a.docx",
        _DOCX_TYPE,
        lambda: changed_zip(word(lambda _: None), {"[Content_Types].xml": None}),
        "is a ZIP archive, which is not read",
    ),
    "picture as a pdf": ("a.pdf", "application/pdf", lambda: b"\x89PNG\r\n\x1a\n", "PNG image"),
    "text as a pdf": ("a.pdf", "", lambda: b"only text", "by its name that it is PDF"),
    "text declared as a pdf": ("a", "application/pdf", lambda: b"x", "by its declared type"),
    "pdf as a text": ("a.txt", "", lambda: GOOD, "that it is text, but is PDF"),
    "text as a picture": ("a.png", "", lambda: b"only text", "it is a PNG image, but is not"),
    "text declared as a picture": ("a", "image/png", lambda: b"x", "is declared as image/png"),
    "gzip": ("a.txt", "", lambda: gzip.compress(b"text"), "is a gzip file"),
    "rtf": ("a.rtf", "", lambda: b"{\\rtf1 text}", "is RTF"),
    "old word": ("a.doc", "", lambda: b"\xd0\xcf\x11\xe0" + noise(2000), "an old Office file"),
    "noise as text": ("a.txt", "", lambda: noise(50_000), "is neither text nor"),
    "noise that could be utf-16": ("a", "", lambda: noise(24, seed=4), "is neither text nor"),
    "zeros amid text": ("a.txt", "", lambda: b"text\0text", "is neither text nor"),
    "controls as text": ("a.csv", "", lambda: b"\1\2\3" * 1000, "is neither text nor"),
    "half a character of utf-16": ("a.txt", "", lambda: b"\xff\xfea\0b", "in 'utf-16', but is not"),
    "half a pair of utf-16": ("a.txt", "", lambda: b"\xff\xfe\0\xd8", "in 'utf-16', but is not"),
    "utf-8 that is none": ("a", "text/plain; charset=utf-8", lambda: b"\xff", "in 'utf-8', but"),
    "unknown encoding": ("a", "text/plain; charset=zlib", lambda: b"a", "'zlib', which is unknown"),
    "csv of a long line": ("a.csv", "", lambda: b"1," * 250_000, "400,000 characters"),
    "csv of far too long a line": ("a.csv", "", lambda: b"1," * 8_000_000, "400,000 characters"),
    "json nested deep": ("a.json", "", lambda: b"[" * 400_000, None),
    "html nested deep": (
        "a.html",
        "",
        lambda: b"<div>" * 100_000 + b"text",
        "nested deeper than 255",
    ),
    "html of wide tables": (
        "a.html",
        "",
        lambda: b"<table><tr><td>" + b"x" * 300_000 + b"<tr><td>y" * 50_000,
        "takes too much",
    ),
    "html of a long attribute": (
        "a.html",
        "",
        lambda: b"<p a='" + b"x" * 12_000_000,
        "longer than 10,000,000",
    ),
    "html of halves of pairs": ("a.html", "", lambda: b"<p>&#xD800;&#0;&#x110000;", None),
}
REFUSED = [name for name, (*_, said) in BAD.items() if said is not None]
