"""Good files of each kind are read to the letter, and processes that end are replaced."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from docx.document import Document as WordDocument
from support.documents import drawn_pdf, form_pdf, pdf, picture, stream, word, word_of
from support.waiting import until

from serve.kept_helper import AbandonedError
from serve.media import file_process, file_worker
from serve.media.documents import transfer, worker
from serve.media.documents.document import Document
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.reader import DocumentReader
from serve.media.errors import MediaError
from serve.media.file_process import FileProcess

MiB = 2**20


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    made = DocumentReader()
    yield made
    made.close()


@pytest.fixture
def own() -> Iterator[DocumentReader]:
    """One whose process a test may harm."""
    made = DocumentReader(DocumentLimits(seconds=1.0))
    yield made
    made.close()


def texts(document: Document) -> list[str]:
    return [page.text for page in document.pages]


def helper_of(reader: DocumentReader) -> Any:
    return reader._processes[0]._helper


async def test_the_text_of_a_pdf_is_told_page_by_page(reader: DocumentReader) -> None:
    made = pdf("First line\nsecond line", "Another page: café, 5 % of it")
    document = await reader.read("dir/report.pdf", made, declared="application/pdf")
    assert (document.name, document.kind, document.paged) == ("report.pdf", "PDF", True)
    assert texts(document) == ["First line\nsecond line", "Another page: café, 5 % of it"]


async def test_a_hyphen_at_the_end_of_a_line_stays_with_its_line(reader: DocumentReader) -> None:
    document = await reader.read("a.pdf", pdf("a well-\nknown page"))
    assert texts(document) == ["a well-\nknown page"]


async def test_what_is_filled_into_a_form_is_read(reader: DocumentReader) -> None:
    (page,) = (await reader.read("a.pdf", form_pdf())).pages
    assert page.text == "Name:\nAda Lovelace"


async def test_text_in_a_font_that_does_not_say_its_characters_is_no_text(
    reader: DocumentReader,
) -> None:
    made = drawn_pdf(stream(b"BT /F1 20 Tf 10 100 Td <0102030405> Tj ET"))
    (page,) = (await reader.read("a.pdf", made)).pages
    assert (page.text, page.unreadable) == ("", "it has no readable text")


async def test_a_page_without_text_is_a_picture_where_one_is_wanted(
    reader: DocumentReader,
) -> None:
    made = pdf("text", picture(30, 20), None)
    scanned = (await reader.read("a.pdf", made, pictures=True)).pages
    assert [page.unreadable for page in scanned] == ["", "", ""]
    assert scanned[0].picture is None
    assert scanned[2].picture is None
    pixels = scanned[1].picture
    assert pixels is not None
    assert pixels.dtype == np.uint8
    # A4 of 1.5 million pixels; on it 150 mm × 100 mm, red above blue, 30 mm from the corner.
    assert pixels.shape == (1457, 1030, 3)
    dots = 1030 / 210
    told = [pixels[int(y * dots), int(105 * dots)].tolist() for y in (10, 55, 105, 200)]
    assert told == [[255, 255, 255], [255, 0, 0], [0, 0, 255], [255, 255, 255]]


async def test_a_page_without_text_is_unreadable_where_no_picture_is_wanted(
    reader: DocumentReader,
) -> None:
    document = await reader.read("a.pdf", pdf("text", picture(), None))
    assert [page.unreadable for page in document.pages] == ["", "it has no readable text", ""]


async def test_beyond_the_most_pictures_pages_are_unreadable() -> None:
    reader = DocumentReader(DocumentLimits(pictures=2, picture_pixels=10_000))
    document = await reader.read("a.pdf", pdf(*[picture()] * 3), pictures=True)
    reader.close()
    shapes = [None if page.picture is None else page.picture.shape for page in document.pages]
    assert shapes == [(119, 85, 3), (119, 85, 3), None]
    assert document.pages[2].unreadable == "it has no readable text"


async def test_a_word_document_is_told_in_its_order(reader: DocumentReader) -> None:
    def build(made: WordDocument) -> None:
        made.add_heading("Sales", 2)
        made.add_paragraph("Up by ").add_run("3 %").bold = True
        table = made.add_table(2, 2)
        for cell, text in zip(table._cells, ("Year", "Sum\nin €", "2025", ""), strict=True):
            cell.text = text
        made.add_paragraph("End\tof\nit")

    document = await reader.read("a.docx", word(build))
    assert (document.kind, document.paged, document.left_out) == ("DOCX", False, [])
    assert texts(document) == [
        "## Sales\n\nUp by 3 %\n\n| Year | Sum in € |\n| 2025 |  |\n\nEnd\tof\nit"
    ]


async def test_changes_fields_links_and_boxes_of_a_word_document_are_read_once(
    reader: DocumentReader,
) -> None:
    def run(text: str) -> str:
        return f"<w:r><w:t>{text}</w:t></w:r>"

    compatible = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    body = (
        f"<w:p><w:ins>{run('in')}</w:ins><w:del><w:r><w:delText>out</w:delText></w:r></w:del>"
        f"<w:hyperlink>{run('link')}</w:hyperlink><w:moveFrom>{run('gone')}</w:moveFrom></w:p>"
        f"<w:sdt><w:sdtContent><w:p>{run('field')}</w:p></w:sdtContent></w:sdt>"
        f'<w:p><w:r><mc:AlternateContent xmlns:mc="{compatible}">'
        f"<mc:Choice Requires='wps'><w:txbxContent><w:p>{run('box')}</w:p></w:txbxContent>"
        f"</mc:Choice><mc:Fallback><w:pict><w:p>{run('box')}</w:p></w:pict></mc:Fallback>"
        f"</mc:AlternateContent></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc><w:tbl><w:tr><w:tc><w:p>{run('inner')}</w:p></w:tc></w:tr></w:tbl>"
        f"<w:p>{run('outer')}</w:p></w:tc></w:tr></w:tbl>"
    )
    document = await reader.read("a.docx", word_of(body))
    assert texts(document) == ["inlink\n\nfield\n\nbox\n\n| inner outer |"]


async def test_what_a_word_document_has_beside_text_is_named(
    reader: DocumentReader, tmp_path: Path
) -> None:
    picture().save(tmp_path / "red.png")

    def build(made: WordDocument) -> None:
        made.add_picture(str(tmp_path / "red.png"))
        made.sections[0].header.paragraphs[0].text = "Confidential"
        made.sections[0].footer.is_linked_to_previous = False
        for _ in range(2):
            made.add_comment(made.add_paragraph("text").runs, "no")

    document = await reader.read("a.docx", word(build))
    assert texts(document) == ["text\n\ntext"]
    assert document.left_out == ["1 picture", "2 comments", "headers"]


async def test_html_is_told_as_it_is_seen(reader: DocumentReader) -> None:
    made = (
        "<!DOCTYPE html><html><head><meta charset='iso-8859-1'><title>No</title><style>no</style>"
        "</head><body><!-- no --><h1>Größe</h1><p>One <b>bold</b>\n word &amp; more</p>"
        "<script>no()</script><ul><li>first</li><li>second</li></ul>"
        "<table><tr><th>a long heading</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
        "<img src='x.png' alt='a chart'></body></html>"
    )
    document = await reader.read("a.html", made.encode("iso-8859-1"))
    assert document.kind == "HTML"
    assert texts(document) == [
        (
            "Größe\n\nOne bold word & more\n\n  * first\n  * second\n"
            "a long heading  b\n1  2\n\n[a chart]"
        )
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.txt", "text"), ("a.md", "Markdown"), ("a.csv", "CSV"), ("a.json", "JSON"), ("a", "text")],
)
async def test_other_texts_stand_as_they_are(reader: DocumentReader, name: str, kind: str) -> None:
    document = await reader.read(name, '\ufeff# Grün,\t1\r\n  {"a": `b`}\n\n'.encode())
    assert document.kind == kind
    assert texts(document) == ['# Grün,\t1\n  {"a": `b`}']


@pytest.mark.parametrize(
    ("text", "encoding", "declared"),
    [
        ("Grüße, 5 €", "utf-8", ""),
        ("Grüße, 5 €", "utf-16", ""),
        ("Grüße, 5 €", "utf-32", ""),
        ("Grüße", "cp1252", ""),
        ("naïve café", "cp1252", ""),
        ("これは日本語の文章です。今日は天気がいいですね。", "shift_jis", ""),
        ("Zażółć gęślą jaźń", "cp1250", ""),
        ("Привет", "koi8-r", "text/plain; charset=koi8-r"),
    ],
)
async def test_texts_are_read_in_their_encoding(
    reader: DocumentReader, text: str, encoding: str, declared: str
) -> None:
    document = await reader.read("a.txt", text.encode(encoding), declared=declared)
    assert texts(document) == [text]


async def test_characters_up_to_the_limit_are_read(reader: DocumentReader) -> None:
    document = await reader.read("a.txt", ("😀" * 400_000).encode())
    assert texts(document) == ["😀" * 400_000]
    with pytest.raises(MediaError, match=r"400,000 characters") as refused:
        await reader.read("a.txt", ("a" * 400_001).encode())
    assert refused.value.code == "file_too_large"


async def test_the_characters_of_all_pages_are_counted_together() -> None:
    reader = DocumentReader(DocumentLimits(characters=10))
    assert texts(await reader.read("a.pdf", pdf("12345", "67890"))) == ["12345", "67890"]
    with pytest.raises(MediaError, match="more than 10 characters"):
        await reader.read("a.pdf", pdf("12345", "678901"))
    reader.close()


async def test_several_processes_read_at_once() -> None:
    reader = DocumentReader(count=2)
    await reader.start()
    documents = await asyncio.gather(*(reader.read("", b"%d" % n) for n in range(8)))
    reader.close()
    assert [texts(each) for each in documents] == [[str(n)] for n in range(8)]


async def test_one_that_takes_too_much_time_is_refused_and_another_process_reads_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_process, "_PATIENCE", 1000.0)
    reader = DocumentReader(DocumentLimits(seconds=0.1))
    endless = drawn_pdf(stream(b"0 0 200 200 re f 0 0 m 200 200 l S\n" * 400_000))
    with pytest.raises(MediaError, match="takes too much time to be read") as refused:
        await reader.read("a.pdf", endless, pictures=True)
    assert refused.value.code == "file_too_large"
    assert texts(await reader.read("b", b"good")) == ["good"]
    assert not caplog.records
    reader.close()


async def test_one_that_hangs_is_ended_by_the_clock(
    own: DocumentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_process, "_PATIENCE", 0.2)
    await own.start()
    os.kill(helper_of(own)._process.pid, signal.SIGSTOP)
    with pytest.raises(MediaError, match="takes too much time"):
        await own.read("a", b"good")
    monkeypatch.undo()
    assert texts(await own.read("a", b"good")) == ["good"]


async def test_one_that_takes_too_much_memory_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = DocumentReader(DocumentLimits(memory=8 * MiB))
    with pytest.raises(MediaError, match="takes too much memory") as refused:
        await reader.read("a.txt", b"a" * 15 * MiB)
    assert refused.value.code == "file_too_large"
    assert "MemoryError" in caplog.text
    assert texts(await reader.read("a", b"good")) == ["good"]
    reader.close()


async def test_the_end_of_a_process_between_files_is_no_files_fault(own: DocumentReader) -> None:
    await own.start()
    helper_of(own).kill()
    assert texts(await own.read("a", b"good")) == ["good"]


async def test_a_file_that_crashes_a_fresh_process_is_refused_and_logged(
    own: DocumentReader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crashing(self: FileProcess[Any, Any]) -> tuple[Any, bool]:
        helper = start(self)[0]
        os.kill(helper._process.pid, signal.SIGSEGV)
        return helper, True

    start = FileProcess.start
    monkeypatch.setattr(FileProcess, "start", crashing)
    with pytest.raises(MediaError, match='"a" cannot be read: it is damaged, or takes'):
        await own.read("a", b"good")
    assert "a process that read a file ended with SIGSEGV" in caplog.text
    monkeypatch.undo()
    assert texts(await own.read("a", b"good")) == ["good"]


class Saying:
    """An end of a connection over which this has come."""

    def __init__(self, message: bytes) -> None:
        self._message = message

    def recv_bytes(self, most: int) -> bytes:
        if len(self._message) > most:
            raise OSError("bad message length")
        return self._message


@pytest.mark.parametrize(
    "nonsense", [b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"refused": {"a": 1}}', b" " * 6_000_000]
)
async def test_a_process_that_answers_nonsense_is_replaced(
    own: DocumentReader, monkeypatch: pytest.MonkeyPatch, nonsense: bytes
) -> None:
    def answered(link: Any, limits: DocumentLimits) -> Any:
        receive_answer(link, limits)
        return receive_answer(cast("Any", Saying(nonsense)), limits)

    receive_answer = transfer.receive_answer
    monkeypatch.setattr(transfer, "receive_answer", answered)
    with pytest.raises(MediaError):
        await own.read("a", b"good")
    monkeypatch.undo()
    assert texts(await own.read("a", b"good")) == ["good"]


@pytest.mark.timeout(60)
async def test_whoever_leaves_frees_the_process_at_once(
    own: DocumentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_process, "_PATIENCE", 1000.0)
    await own.start()
    os.kill(helper_of(own)._process.pid, signal.SIGSTOP)
    reading = asyncio.create_task(own.read("a", b"left"))
    waiting = asyncio.create_task(own.read("b", b"left too"))
    await until(lambda: own._processes[0]._errand)
    waiting.cancel()
    reading.cancel()
    assert texts(await own.read("c", b"good")) == ["good"]
    assert reading.cancelled()
    assert waiting.cancelled()


@pytest.mark.timeout(60)
async def test_closing_ends_what_is_being_read(
    own: DocumentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_process, "_PATIENCE", 1000.0)
    await own.start()
    os.kill(helper_of(own)._process.pid, signal.SIGSTOP)
    reading = asyncio.create_task(own.read("a", b"left"))
    await until(lambda: own._processes[0]._errand)
    own.close()
    with pytest.raises(AbandonedError):
        await reading


def test_a_library_that_stumbles_is_the_files_fault_and_its_words_are_not_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise KeyError("what the file says")

    monkeypatch.setattr(worker.any_kind, "read", stumble)
    asked = worker.Asked("a", "", pictures=False)
    answer = file_worker._answer(worker._read, asked, b"x", DocumentLimits())
    assert isinstance(answer, file_worker.Refused)
    assert answer.reason == "cannot be read: it is damaged."
    assert answer.unforeseen.startswith("KeyError in ")
    assert "what the file says" not in answer.unforeseen


async def test_where_the_extra_is_missing_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for each in Path(np.__file__).parents[1].iterdir():
        if not each.name.startswith("inscriptis"):
            (tmp_path / each.name).symlink_to(each)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    reader = DocumentReader()
    with pytest.raises(OSError, match=r"does not start: .*pip install '\.\[media\]'"):
        await reader.start()
    reader.close()
