"""Content says what a file is; its name and its declared type say which text, and may not lie."""

import pytest
from support.documents import changed_zip, word

from serve.media.documents.kinds import kind_of
from serve.media.errors import MediaError

PDF = b"%PDF-1.7\n"
DOCX = word(lambda _: None)
TEXT = b"a,b\n1,2\n"
PAGE = b"\n<!doctype HTML><p>x"
WORD_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("name", "declared", "data", "kind"),
    [
        ("a.pdf", "application/pdf", PDF, "PDF"),
        ("A.PDF", "", b"\n " + PDF, "PDF"),
        ("a.pdf", "", b"a mailer's line\n" + PDF, "PDF"),
        ("", "", PDF, "PDF"),
        ("noname", "application/octet-stream", PDF, "PDF"),
        ("a.docx", WORD_TYPE, DOCX, "DOCX"),
        ("", "", DOCX, "DOCX"),
        (
            "a.docx",
            "",
            changed_zip(DOCX, {"word/document.xml": None, "word/document2.xml": b""}),
            "DOCX",
        ),
        ("a.csv", "text/plain", TEXT, "CSV"),
        ("a.csv", "application/vnd.ms-excel", TEXT, "CSV"),
        ("", "text/csv", TEXT, "CSV"),
        ("a.tsv", "", TEXT, "CSV"),
        ("a.md", "", TEXT, "Markdown"),
        ("README", "text/markdown", TEXT, "Markdown"),
        ("a.json", "application/json", TEXT, "JSON"),
        ("main.py", "text/x-python", TEXT, "text"),
        ("main.py", "", TEXT, "text"),
        ("", "", TEXT, "text"),
        ("about.txt", "", b"It begins with %PDF-1.7, says the standard.", "text"),
        ("", "", PAGE, "HTML"),
        ("a.html", "", b"<p>x", "HTML"),
        ("", "text/html", b"<p>x", "HTML"),
        ("source.txt", "", PAGE, "text"),
        ("source.md", "", PAGE, "Markdown"),
    ],
)
def test_the_kind_of(name: str, declared: str, data: bytes, kind: str) -> None:
    assert kind_of(name, declared, data).name == kind


@pytest.mark.parametrize(
    ("name", "declared", "data", "said", "code"),
    [
        ("a.pdf", "", TEXT, "says by its name that it is PDF, but is no PDF", "invalid_file"),
        ("a.docx", "", PDF, "says by its name that it is DOCX, but is PDF", "invalid_file"),
        ("a.txt", "", DOCX, "says by its name that it is text, but is DOCX", "invalid_file"),
        ("a.pdf", "text/plain", PDF, "by its declared type that it is text", "invalid_file"),
        ("a", WORD_TYPE, TEXT, "by its declared type that it is DOCX", "invalid_file"),
        ("a.xlsx", "", TEXT, "by its name that it is a ZIP archive, but is not", "invalid_file"),
        ("a", "video/mp4", TEXT, "is declared as video/mp4, but is not", "invalid_file"),
        ("a", "", b"\xff\xd8\xff\xe0", "is a JPEG image, which is not read", "unsupported_file"),
        ("a.xlsx", "", b"PK\x05\x06" + bytes(18), "an empty ZIP archive", "unsupported_file"),
        ("a.docx", "", b"PK\x03\x04", "damaged or cut off", "invalid_file"),
    ],
)
def test_refused(name: str, declared: str, data: bytes, said: str, code: str) -> None:
    with pytest.raises(MediaError) as refused:
        kind_of(name, declared, data)
    assert said in refused.value.reason
    assert refused.value.code == code


def test_a_picture_is_told_its_place() -> None:
    with pytest.raises(MediaError, match=r"Send it as an image_url part\.$"):
        kind_of("a.png", "image/png", b"\x89PNG\r\n\x1a\n")
