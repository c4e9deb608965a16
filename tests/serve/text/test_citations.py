"""Which marks are citations, and that their places slice them exactly."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.text.citations import Citation, CitationFinder


def found(text: str, sources: int = 3) -> list[Citation]:
    finder = CitationFinder(sources)
    assert finder.feed(text) == text
    return finder.flush()


def marks(text: str, sources: int = 3) -> list[tuple[str, int]]:
    return [(text[each.start : each.end], each.number) for each in found(text, sources)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("It is high [2].", [("[2]", 2)]),
        ("So [1][3]", [("[1]", 1), ("[3]", 3)]),
        ("So [1, 3].", [("[1, 3]", 1), ("[1, 3]", 3)]),
        ("So [3,3,9].", [("[3,3,9]", 3)]),
        ("[0] [4] [99] [1000]", []),
        ("[a] [^1] [1.5] [-1] [] [1 2] [٣]", []),
        ("a link [2](http://x), an image ![1](y), escaped \\[2]", []),
        ("[1]: http://x\nbut [2]: yes", [("[2]", 2)]),
        ("`a[1]` and [1] and ``b ` [2]`` c [3]", [("[1]", 1), ("[3]", 3)]),
        ("one ` only [1]\n\nanother ` here [2]", [("[1]", 1), ("[2]", 2)]),
        ("``` not closed by `` [1]", [("[1]", 1)]),
        ("[1]\n```py\na[2]\n```\n[3]", [("[1]", 1), ("[3]", 3)]),
        ("````\na[2]\n```\nb[1]\n````\n[3]", [("[3]", 3)]),
        ("~~~\na[2]\n```\nb[1]\n~~~\n[3]", [("[3]", 3)]),
        ("```\na[2] and no end", []),
        ("```one line``` [1]", [("[1]", 1)]),
    ],
)
def test_marks(text: str, told: list[tuple[str, int]]) -> None:
    assert marks(text) == told


def test_without_sources_there_are_none() -> None:
    assert found("[1]", sources=0) == []


@given(st.text("[]12,` \n~(:\\é😀", max_size=60), st.data())
def test_pieces_change_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    finder = CitationFinder(3)
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert [finder.feed(piece) for piece in pieces] == pieces
    assert finder.flush() == found(text)


@given(st.text("[]12,` \n~(:\\é😀", max_size=60))
def test_places_slice_what_names_the_source(text: str) -> None:
    for mark, number in marks(text):
        assert str(number) in mark[1:-1].replace(" ", "").split(",")
        assert (mark[0], mark[-1]) == ("[", "]")


ASTRAL = "Straße 😀👍🏽 [2], 𝔊 [1, 3]."


def test_places_in_utf_16_are_other_ones() -> None:
    """Two units for a character beyond U+FFFF: as docs/web-search.md converts them."""
    units = ASTRAL.encode("utf-16-le")
    for each in found(ASTRAL):
        start, end = (2 * _units(ASTRAL[:place]) for place in (each.start, each.end))
        assert units[start:end].decode("utf-16-le") == ASTRAL[each.start : each.end]
    assert [each.start for each in found(ASTRAL)] == [11, 18, 18]


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.skipif(shutil.which("node") is None, reason="wants Node")
def test_javascript_slices_code_points_as_documented() -> None:
    script = (
        "const [text, places] = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(places.map(([a, b]) => Array.from(text).slice(a, b).join(''))))"
    )
    places = [(each.start, each.end) for each in found(ASTRAL)]
    done = subprocess.run(
        ["node", "-e", script, json.dumps([ASTRAL, places])],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == ["[2]", "[1, 3]", "[1, 3]"]


def test_many_backticks_take_no_time_of_their_own() -> None:
    """A search for each run's end would look through all of it 2,000 times."""
    text = " ".join("`" * length for length in range(1, 2001)) + " [1]"
    assert marks(text) == [("[1]", 1)]
