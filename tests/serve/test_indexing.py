"""What `parlance index` takes in, and that what it made is found."""

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from support.documents import pdf, word
from support.fact_documents import FactDocument, fact_documents

from serve.__main__ import main
from serve.indexing import Indexed, index_directory
from serve.search.index_file import DEFAULT_NAME, IndexFileError
from serve.search.local_index import LocalIndex
from serve.search.prompt import EXTENTS, show
from serve.search.types import Source
from serve.text.citations import CitationFinder

BASE = "https://x.example/docs"


def run(directory: Path, out: Path | None = None) -> tuple[Indexed, list[str]]:
    said: list[str] = []
    return index_directory(directory, out, BASE, said.append), said


async def found(directory: Path, query: str, most: int = 5) -> list[Source]:
    index = LocalIndex(directory)
    try:
        return list(await index.search(query, most))
    finally:
        await index.close()


def test_each_kind_is_read_and_the_rest_is_told(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    files = {
        "a.txt": b"apples",
        "b.MD": b"\n## Pears &  more\npears",
        "deep/c.html": b"<!doctype html><title>Of\n plums &amp; me</title><p>plums",
        "deep/er/d.pdf": pdf("first cherries", "more cherries"),
        "e.docx": word(lambda made: made.add_paragraph("figs")),
        "f.csv": b"fruit,price\ndates,3",
        "bad.pdf": b"%PDF-1.7 broken",
        "blank.txt": b" \n",
        "empty.txt": b"",
        "picture.png": b"\x89PNG",
        ".hidden.txt": b"hidden",
        ".git/config.txt": b"hidden",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "away.txt").symlink_to(__file__)
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / os.fsdecode(b"\xff.txt")).write_bytes(b"kumquats")
    done, said = run(tmp_path)
    assert (done.read, done.kept, done.others) == (6, 0, 1)
    assert set(done.skipped) == {"bad.pdf", "blank.txt", "empty.txt", "?.txt"}
    assert [line.split(" is left out: ")[0] for line in said] == list(done.skipped)


async def test_titles_and_addresses(tmp_path: Path) -> None:
    (tmp_path / "b ä.md").write_bytes(b"\n## Pears &  more\npears")
    (tmp_path / "c.html").write_bytes(b"<title>Of\n plums &amp; me</title><p>plums")
    (tmp_path / "d.pdf").write_bytes(pdf("first cherries"))
    await asyncio.to_thread(run, tmp_path)
    told = {(each.title, each.url) for each in await found(tmp_path, "pears plums cherries")}
    assert told == {
        ("Pears & more", f"{BASE}/b%20%C3%A4.md"),
        ("Of plums & me", f"{BASE}/c.html"),
        ("d.pdf", f"{BASE}/d.pdf"),
    }
    await asyncio.to_thread(index_directory, tmp_path, None, "", print)
    assert (await found(tmp_path, "cherries"))[0].url == (tmp_path / "d.pdf").resolve().as_uri()


async def test_only_what_has_changed_is_read_again(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"apples {name}")
    first, _ = await asyncio.to_thread(run, tmp_path)
    (tmp_path / "a.txt").write_text("pears and more")
    (tmp_path / "b.txt").unlink()
    (tmp_path / "d.txt").write_text("plums")
    second, _ = await asyncio.to_thread(run, tmp_path)
    assert (first.read, first.kept, second.read, second.kept) == (3, 0, 2, 1)
    assert [each.title for each in await found(tmp_path, "apples")] == ["c.txt"]
    assert {each.title for each in await found(tmp_path, "pears plums")} == {"a.txt", "d.txt"}


def test_an_index_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("apples")
    (tmp_path / DEFAULT_NAME).write_bytes(b"no database" * 100)
    assert run(tmp_path)[0].read == 1
    assert run(tmp_path)[0].kept == 1


@pytest.mark.parametrize("given", ["missing", "a.txt"])
def test_what_is_no_directory_is_said(tmp_path: Path, given: str) -> None:
    (tmp_path / "a.txt").write_text("apples")
    with pytest.raises(IndexFileError, match="is no directory"):
        run(tmp_path / given)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["index", *arguments])
    return ended.value.code, *capsys.readouterr()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents, out = tmp_path / "documents", tmp_path / "out.sqlite"
    documents.mkdir()
    (documents / "a.txt").write_text("apples")
    (documents / "b.pdf").write_text("no PDF")
    code, told, warned = command(capsys, str(documents), "--out", str(out))
    assert (code, told) == (
        0,
        f"{out}: 1 documents, 1 of them read now; 1 could not be read, 0 are of other kinds\n",
    )
    assert warned.startswith("b.pdf is left out: ")
    assert out.is_file()


@pytest.mark.parametrize("options", [["/nowhere/at/all"], [".", "--base-url", "docs"]])
def test_what_cannot_be_done_ends_with_2(
    capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    code, told, warned = command(capsys, *options)
    assert (code, told) == (2, "")
    assert warned.startswith("parlance: ")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FactDocument]]:
    """Two hundred documents and their index."""
    directory = tmp_path_factory.mktemp("facts")
    documents = fact_documents()
    for each in documents:
        path = directory / each.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(each.data)
    assert run(directory)[0].read == 200
    return directory, documents


@pytest.mark.parametrize("size", ["low", "medium", "high"])
async def test_the_right_source_is_shown_and_cited(
    collection: tuple[Path, list[FactDocument]], size: str
) -> None:
    """An answer that copies the number beside the sought words cites the document that has them."""
    directory, documents = collection
    first = cited = 0
    for each in documents[::4][:25] + documents[1::8][:25]:
        extent = EXTENTS[size]
        shown = show(each.question, await found(directory, each.question, extent.sources), extent)
        urls = [source.url for source in shown.sources]
        sought = f"{BASE}/{quote(each.name)}"
        first += urls[:1] == [sought]
        if sought not in urls:
            continue
        number = urls.index(sought) + 1
        assert each.answer in shown.text.split(f"\n[{number}] ")[1].split("\n[")[0]
        finder = CitationFinder(len(shown.sources))
        answer = finder.feed(f"It is {each.answer} [{number}].")
        (citation,) = finder.flush()
        assert answer[citation.start : citation.end] == f"[{number}]"
        cited += shown.sources[citation.number - 1].url == sought
    assert cited >= 45
    assert first >= 35
