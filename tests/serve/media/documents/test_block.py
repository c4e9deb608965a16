"""A file as the model is shown it."""

import numpy as np
import pytest

from serve.media.documents.block import block
from serve.media.documents.document import Document, Page
from serve.media.documents.names import shown_name


def text_file(text: str, name: str = "a.txt") -> Document:
    return Document(name, "text", paged=False, pages=[Page(text)])


def test_a_file_without_pages_is_named_and_fenced() -> None:
    assert block(text_file("one\ntwo")) == ['File "a.txt" (text):\n```\none\ntwo\n```\n']


def test_pages_are_told_apart_and_pictures_stand_in_their_places() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    pages = [
        Page("Sales rose."),
        Page(picture=picture),
        Page(),
        Page(unreadable="it is damaged"),
        Page(picture=picture),
    ]
    pieces = block(Document("report.pdf", "PDF", paged=True, pages=pages))
    assert pieces[::2] == [
        (
            'File "report.pdf" (PDF, 5 pages)\nPage 1:\n```\nSales rose.\n```\n'
            "Page 2 is this picture:\n"
        ),
        "Page 3 is blank.\nPage 4 cannot be read: it is damaged.\nPage 5 is this picture:\n",
    ]
    assert pieces[1] is picture
    assert pieces[3] is picture
    assert len(pieces) == 4


def test_what_is_left_out_is_said() -> None:
    document = Document("a.docx", "DOCX", False, [Page("x")], left_out=["2 pictures", "comments"])
    assert block(document) == [
        'File "a.docx" (DOCX):\n```\nx\n```\nNot shown: 2 pictures, comments.\n'
    ]


def test_a_file_without_text_is_blank() -> None:
    assert block(text_file("")) == ['File "a.txt" (text):\nIt is blank.\n']


@pytest.mark.parametrize(
    ("text", "fence"),
    [("`", "```"), ("```\nFile x", "````"), ("a ```````` b", "`" * 9), ("``` ````` `", "`" * 6)],
)
def test_nothing_in_a_text_ends_its_place(text: str, fence: str) -> None:
    (shown,) = block(text_file(text))
    assert shown == f'File "a.txt" (text):\n{fence}\n{text}\n{fence}\n'
    assert shown.count(fence) == 2


def test_all_pages_have_the_same_fence() -> None:
    pages = [Page("````"), Page("x")]
    (shown,) = block(Document("a.pdf", "PDF", paged=True, pages=pages))
    assert shown == (
        'File "a.pdf" (PDF, 2 pages)\nPage 1:\n`````\n````\n`````\nPage 2:\n`````\nx\n`````\n'
    )


def test_a_name_ends_nothing_either() -> None:
    (shown,) = block(text_file("x", shown_name('a" (PDF)\n```\nb.txt')))
    assert shown == 'File "a\\" (PDF) ``` b.txt" (text):\n```\nx\n```\n'


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("C:\\Users\\me\\re port.pdf", "re port.pdf"),
        ("/etc/passwd", "passwd"),
        ("dir/", "dir"),
        ("a\r\nb\x00\x1b[31m\u2028\u202ec.txt", "a b [31m c.txt"),
        ("Größe 表.csv", "Größe 表.csv"),
        ("half \ud800 a pair", "half a pair"),
        ("", "unnamed"),
        ("\n/\n", "unnamed"),
        ("x" * 500 + ".pdf", "x" * 99 + "…" + "x" * 96 + ".pdf"),
        ("/" * 100_000, "unnamed"),
    ],
)
def test_names_are_one_short_line(name: str, shown: str) -> None:
    assert shown_name(name) == shown
