"""What is found in an index of documents, and that it is found in time or not at all."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serve.search import local_index
from serve.search.index_file import DEFAULT_NAME, Entry, IndexFileError, IndexWriter
from serve.search.local_index import LocalIndex
from serve.search.types import SearchError, SearchSettings, Source, UserLocation


def write(path: Path, *documents: tuple[str, str, str], base: str = "https://x.example/") -> Path:
    with IndexWriter(path, base) as writer:
        for name, title, text in documents:
            writer.add(Entry(name, "1", title, [text]))
    return path


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[LocalIndex]:
    """Of a few documents, under the name that it has by itself."""
    write(
        tmp_path / DEFAULT_NAME,
        ("a b/ä?.md", "Mountains", "The Brocken is the highest mountain of the Harz."),
        ("towns.txt", "towns.txt", "Goslar lies below the Harz; cafés are on its market."),
        ("zh.txt", "zh.txt", "泰山位于山东省中部，海拔一千五百米。"),
        ("other.txt", "other.txt", "Nothing is said here OR there."),
    )
    made = LocalIndex(tmp_path)
    yield made
    await made.close()


async def titles(index: LocalIndex, query: str, most: int = 9) -> list[str]:
    return [each.title for each in await index.search(query, most)]


async def test_a_source_says_where_it_is(index: LocalIndex) -> None:
    await index.check()
    assert await index.search("Which mountains are high in the Harz?", 1) == [
        Source(
            "Mountains",
            "https://x.example/a%20b/%C3%A4%3F.md",
            "The Brocken is the highest mountain of the Harz.",
        )
    ]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("CAFE in market towns", "towns.txt"),
        ("Brockens", "Mountains"),
        ("mountains", "Mountains"),
        ("泰山有多高", "zh.txt"),
        ("海拔", "zh.txt"),
        ("or", "other.txt"),
        ("goslar" + " x" * 100_000, "towns.txt"),
    ],
)
async def test_words_are_found_in_other_forms(index: LocalIndex, query: str, first: str) -> None:
    assert (await titles(index, query))[:1] == [first]


@pytest.mark.parametrize("query", ["", " \n", "?!", "xyzzy", "\x00", "😀", '"', "'); DROP"])
async def test_what_is_nowhere_is_not_found(index: LocalIndex, query: str) -> None:
    assert await titles(index, query) == []


@pytest.mark.parametrize(
    "query",
    [
        "title:Mountains",
        'Brocken" OR "',
        "Brocken*",
        "NEAR(Brocken)",
        "Brocken AND NOT (",
        "^Brocken",
    ],
)
async def test_nothing_in_a_query_is_syntax(index: LocalIndex, query: str) -> None:
    assert "Mountains" in await titles(index, query)


async def test_where_the_user_is_changes_nothing(index: LocalIndex) -> None:
    near = UserLocation("Goslar", "DE")
    assert await index.search("Harz", 9, near) == await index.search("Harz", 9)


async def test_a_document_is_one_source_with_its_best_passages(tmp_path: Path) -> None:
    filler = "Words about something else fill this passage. " * 30
    came, green = "The comet came once.", "The comet comet was green."
    text = f"{filler}\n\n{came}\n\n{filler}\n\n{green}\n\n{filler}"
    path = write(tmp_path / "i.sqlite", ("a.txt", "a", text), ("b.txt", "b", filler))
    index = LocalIndex(path)
    (source,) = await index.search("green comets", 5)
    await index.close()
    first, second = source.text.split("\n\n…\n\n")
    assert "comet was green" in first
    assert "comet came once" in second


async def test_a_new_index_is_searched_from_then_on(tmp_path: Path) -> None:
    path = write(tmp_path / "i.sqlite", ("a.txt", "old", "one"))
    index = LocalIndex(path)
    before = await titles(index, "one two")
    write(path, ("a.txt", "new", "two"))
    after = await titles(index, "one two")
    await index.close()
    assert (before, after) == (["old"], ["new"])


async def test_no_more_than_were_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "i.sqlite", *((f"{n}.txt", f"{n}", "one") for n in range(9)))
    index = LocalIndex(path)
    assert await titles(index, "one", 3) == ["0", "1", "2"]
    await index.close()


def other_version(path: Path) -> None:
    write(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def damaged(path: Path) -> None:
    write(path, *((f"{n}.txt", f"{n}", "one " * 500) for n in range(50)))
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xa5" * (len(data) - 100))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda path: None,
            r"there is no .*: make one with parlance index DIR --out .*/i\.sqlite$",
        ),
        (lambda path: path.write_bytes(b"no database" * 1000), "is no search index"),
        (lambda path: sqlite3.connect(path).close(), "is no search index"),
        (other_version, "of this version"),
        (damaged, "cannot be read"),
    ],
)
async def test_what_is_no_index_is_said(tmp_path: Path, make: object, said: str) -> None:
    assert callable(make)
    make(tmp_path / "i.sqlite")
    index = LocalIndex(tmp_path / "i.sqlite")
    with pytest.raises(SearchError, match=said) as error:
        await index.check()
    await index.close()
    assert error.value.reason == "bad_index"


@pytest.mark.timeout(60)
async def test_one_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread too, not only whoever waits."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE ? <> '')"
    monkeypatch.setattr(local_index, "_BEST", f"{numbers} SELECT * FROM n WHERE i < 0")
    index = LocalIndex(write(tmp_path / "i.sqlite"), SearchSettings(seconds=0.1))
    with pytest.raises(SearchError, match=r"within 0\.1 seconds") as error:
        await index.search("one", 5)
    assert error.value.reason == "timeout"
    index._threads.shutdown(wait=True)


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(IndexFileError, match="cannot be written"),
        IndexWriter(tmp_path / "missing" / "i.sqlite", "x/"),
    ):
        pass


def test_a_run_that_fails_leaves_the_old_index(tmp_path: Path) -> None:
    path = write(tmp_path / "i.sqlite", ("a.txt", "a", "one"))
    old = path.read_bytes()
    with (
        pytest.raises(UnicodeEncodeError),
        IndexWriter(path, "x/") as writer,
    ):
        writer.add(Entry("\ud800", "1", "b", ["two"]))
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == (old, [path])
