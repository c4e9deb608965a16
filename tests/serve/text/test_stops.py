import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.text.stops import StopFinder

SHORT = st.text(alphabet="ab", min_size=1, max_size=4)


def run(pieces: list[str], stops: list[str]) -> tuple[list[str], bool]:
    finder = StopFinder(stops)
    released = [finder.feed(piece) for piece in pieces]
    return [*released, finder.flush()], finder.found


def expected(text: str, stops: list[str]) -> str:
    """The text before the stop string that is complete first, the longest of equals."""
    for end in range(len(text) + 1):
        complete = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(complete)]
    return text


@pytest.mark.parametrize(
    ("pieces", "stops", "released"),
    [
        (["hello"], [], ["hello", ""]),
        (["hel", "lo"], ["lo"], ["he", "l", ""]),
        (["a", "b", "c"], ["abd"], ["", "", "abc", ""]),
        (["a", "b"], ["abd"], ["", "", "ab"]),
        (["aab"], ["ab"], ["a", ""]),
        (["a", "a", "b"], ["ab"], ["", "a", "", ""]),
        (["xabcd"], ["abcd", "bc"], ["xa", ""]),
        (["xabc"], ["bc", "abc"], ["x", ""]),
        (["end", "more"], ["end"], ["", "", ""]),
    ],
)
def test_examples(pieces: list[str], stops: list[str], released: list[str]) -> None:
    assert run(pieces, stops)[0] == released


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    finder = StopFinder(["</end>"])
    assert finder.feed("text </e") == "text "
    assert finder.feed("x") == "</ex"
    assert finder.feed("</end") == ""
    assert finder.feed("> gone") == ""
    assert finder.found
    assert finder.feed("more") == ""
    assert finder.flush() == ""


def test_empty_stop_string_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        StopFinder(["a", ""])


@given(st.lists(SHORT, max_size=12), st.lists(SHORT, max_size=4))
def test_pieces_do_not_matter(pieces: list[str], stops: list[str]) -> None:
    released, found = run(pieces, stops)
    text = "".join(pieces)
    assert "".join(released) == expected(text, stops)
    assert found == any(stop in text for stop in stops)


@given(st.lists(SHORT, max_size=12), st.lists(SHORT, min_size=1, max_size=4))
def test_nothing_is_released_that_could_be_taken_back(pieces: list[str], stops: list[str]) -> None:
    finder, seen, released = StopFinder(stops), "", ""
    for piece in pieces:
        seen += piece
        released += finder.feed(piece)
        if not finder.found:
            held = seen[len(released) :]
            # What is held back begins a stop string, and nothing longer does.
            assert held == "" or any(stop.startswith(held) for stop in stops)
            longer = [seen[n:] for n in range(len(released))]
            assert not any(stop.startswith(tail) for stop in stops for tail in longer)


def test_long_stop_strings_take_linear_time() -> None:
    stop = "a" * 20_000 + "b"
    finder = StopFinder([stop])
    assert sum(len(finder.feed("a")) for _ in range(40_000)) == 20_000
    assert finder.feed("b") == ""
    assert finder.found
