from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.text.assemble import Assembler, Delta
from serve.text.calls.events import CallArguments, CallStarted
from serve.text.calls.hermes import HERMES
from serve.text.calls.tools import CustomTool, FunctionTool


@dataclass(frozen=True)
class Event:
    token: int | None
    finish_reason: Any = None
    predicted: bool = False


class Pieces:
    """A tokenizer whose id n stands for the n-th piece; None is a control token."""

    vocab_size = 0
    controls: dict[str, int] = {}  # noqa: RUF012
    strips: dict[int, tuple[bool, bool]] = {}  # noqa: RUF012
    named: dict[str, str] = {}  # noqa: RUF012
    opening: tuple[int, ...] = ()

    def __init__(self, pieces: list[bytes | None]) -> None:
        self.pieces = pieces

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        raise NotImplementedError

    def token_bytes(self, token: int) -> bytes | None:
        return self.pieces[token]

    def token_text(self, token: int) -> str:
        raise NotImplementedError


def run(
    pieces: list[bytes | None], stops: list[str], finish: Any = "stop"
) -> tuple[list[Delta[Event]], Assembler[Event]]:
    """Every piece once, in order, then the end of the turn."""
    assembler = Assembler[Event](Pieces(pieces), stops)
    deltas: list[Delta[Event]] = []
    for token in range(len(pieces)):
        deltas += assembler.feed(Event(token))
    deltas += assembler.feed(Event(None, finish))
    return deltas, assembler


def shown(deltas: list[Delta[Event]]) -> list[tuple[str, list[int | None], Any]]:
    return [(d.text, [e.token for e in d.events], d.finish_reason) for d in deltas]


def test_plain_tokens_come_one_by_one() -> None:
    deltas, assembler = run([b"Hel", b"lo", b"!"], [])
    assert shown(deltas) == [
        ("Hel", [0], None),
        ("lo", [1], None),
        ("!", [2], None),
        ("", [], "stop"),
    ]
    assert assembler.tokens_kept == 3


def test_a_character_comes_with_all_its_tokens() -> None:
    # a balloon of four bytes over three tokens
    deltas, _ = run([b"a\xf0", b"\x9f\x8e", b"\x88b", b"c"], [])
    assert shown(deltas) == [
        ("a", [], None),
        ("🎈b", [0, 1, 2], None),
        ("c", [3], None),
        ("", [], "stop"),
    ]


def test_events_are_held_back_with_their_text() -> None:
    deltas, assembler = run([b"one ", b"S", b"T", b"x", b"y"], ["STOP"])
    assert shown(deltas) == [
        ("one ", [0], None),
        ("STx", [1, 2, 3], None),
        ("y", [4], None),
        ("", [], "stop"),
    ]
    assert assembler.tokens_kept == 5


def test_tokens_inside_a_stop_string_are_dropped() -> None:
    #            kept    kept (its "c" is)  inside  inside, and beyond
    deltas, assembler = run([b"ab", b"cS", b"TO", b"P and"], ["STOP"])
    assert shown(deltas) == [("ab", [0], None), ("c", [], None), ("", [1], "stop")]
    assert assembler.tokens_kept == 2
    assert assembler.finish_reason == "stop"


def test_tokens_of_a_stop_string_are_kept_where_it_is_included() -> None:
    pieces = Pieces([b"ab", b"cS", b"TO", b"P and"])
    assembler = Assembler[Event](pieces, ["STOP"], stop_included=True)
    deltas = [delta for token in range(4) for delta in assembler.feed(Event(token))]
    assert shown(deltas) == [("ab", [0], None), ("c", [], None), ("STOP", [1, 2, 3], "stop")]
    assert assembler.tokens_kept == 4


def test_stop_string_of_a_tokens_middle() -> None:
    deltas, assembler = run([b"abSTOPcd"], ["STOP"])
    assert shown(deltas) == [("ab", [0], "stop")]
    assert assembler.tokens_kept == 1


def test_unfinished_character_is_replaced_at_the_end() -> None:
    deltas, assembler = run([b"a", b"\xf0\x9f"], [], "length")
    assert shown(deltas) == [("a", [0], None), ("\ufffd", [1], "length")]
    assert assembler.tokens_kept == 2


def test_held_back_text_is_released_at_the_end() -> None:
    deltas, assembler = run([b"a", b"ST"], ["STOP"], "length")
    assert shown(deltas) == [("a", [0], None), ("ST", [1], "length")]
    assert assembler.tokens_kept == 2


def test_last_token_comes_with_the_reason() -> None:
    assembler = Assembler[Event](Pieces([b"a", b"b"]), [])
    assert shown(assembler.feed(Event(0))) == [("a", [0], None)]
    assert shown(assembler.feed(Event(1, "length"))) == [("b", [1], "length")]
    assert assembler.feed(Event(1)) == []
    assert assembler.flush("stop") == []


def test_control_tokens_count_but_say_nothing() -> None:
    deltas, assembler = run([b"a", None, b"b"], [])
    assert [d.text for d in deltas] == ["a", "", "b", ""]
    assert assembler.tokens_kept == 3


def test_a_control_token_just_before_a_stop_string_is_kept() -> None:
    # "S" is held back for "SX"; then "T" is found, which begins after the control token.
    deltas, assembler = run([b"S", None, b"T", None], ["SX", "T"])
    assert shown(deltas) == [("S", [0, 1], "stop")]
    assert assembler.tokens_kept == 2


def test_flush_releases_what_is_held() -> None:
    assembler = Assembler[Event](Pieces([b"S"]), ["STOP"])
    assert assembler.feed(Event(0)) == []
    assert shown(assembler.flush("length")) == [("S", [0], "length")]


@pytest.mark.parametrize("text", ["🎈 STOP 漢", "éSTOPé", "a👩‍👧STOP", "STO STOP", "漢字"])
def test_every_split_gives_the_same_text(text: str) -> None:
    data, whole = text.encode(), text.split("STOP")[0]
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            deltas, _ = run([data[:first], data[first:second], data[second:]], ["STOP"])
            assert "".join(d.text for d in deltas) == whole
            assert sum(d.finish_reason is not None for d in deltas) == 1


@given(
    st.lists(st.text("abé🎈", max_size=5).map(str.encode), max_size=6).flatmap(
        lambda parts: st.tuples(
            st.just(b"".join(parts)), st.lists(st.integers(0, len(b"".join(parts))), max_size=8)
        )
    ),
    st.lists(st.text("abé🎈", min_size=1, max_size=3), max_size=3),
)
def test_token_borders_do_not_matter(split: tuple[bytes, list[int]], stops: list[str]) -> None:
    data, borders = split
    cuts = [0, *sorted(borders), len(data)]
    pieces: list[bytes | None] = [data[a:b] for a, b in pairwise(cuts)]
    deltas, assembler = run(pieces, stops)
    alone, _ = run([data], stops)
    text = "".join(d.text for d in deltas)
    assert text == "".join(d.text for d in alone)
    # Kept tokens are a prefix of all, each once, and their bytes hold the text.
    kept = [event.token for d in deltas for event in d.events]
    assert kept == list(range(len(kept)))
    assert assembler.tokens_kept == len(kept)
    assert b"".join(pieces[n] or b"" for n in range(len(kept))).startswith(text.encode())
    # At no moment is less text out than its released tokens have.
    out, tokens = "", 0
    for delta in deltas[:-1]:
        out += delta.text
        tokens += len(delta.events)
        assert out.encode().startswith(b"".join(pieces[n] or b"" for n in range(tokens)))


MARKER = 99


def reading(pieces: list[bytes | None], stops: list[str], *, marked: bool = True) -> Any:
    """What becomes of the pieces where `<tool_call>` is a control token, the last id."""
    controls = {"<tool_call>": MARKER, "</tool_call>": MARKER + 1} if marked else {}
    parser = HERMES.parser([FunctionTool("f"), CustomTool("g")], controls)
    markers = {token: spelling for spelling, token in controls.items()}
    known = [*pieces, *[b""] * (MARKER - len(pieces)), None, None]
    return Assembler[Event](Pieces(known), stops, parser, markers)


def told(assembler: Any, ids: list[int], finish: Any = "stop") -> tuple[str, list[Any], list[int]]:
    """Text, calls with their arguments, and the tokens that came with text."""
    deltas = [d for id_ in ids for d in assembler.feed(Event(id_))]
    deltas += assembler.feed(Event(None, finish))
    calls: list[list[Any]] = []
    for event in (event for delta in deltas for event in delta.calls):
        if isinstance(event, CallStarted):
            calls.append([event.name, ""])
        elif isinstance(event, CallArguments):
            calls[event.index][1] += event.text
        else:
            calls[event.index].append(event.complete)
    text = "".join(delta.text for delta in deltas)
    return text, calls, [event.token for delta in deltas for event in delta.events]


CALL = [b'\n{"name": "f", "arg', b'uments": {', b'"a": 1}', b"}\n"]


def test_a_call_is_no_text_and_its_tokens_are_counted_without_it() -> None:
    assembler = reading([b"Hi", *CALL], [])
    text, calls, tokens = told(assembler, [0, MARKER, 1, 2, 3, 4, MARKER + 1])
    assert (text, calls, tokens) == ("Hi", [["f", '{"a": 1}', True]], [0])
    assert assembler.tokens_kept == 7


def test_what_is_held_for_a_stop_string_is_text_when_a_call_begins() -> None:
    assembler = reading([b"Hi S", *CALL], ["STOP"])
    text, calls, tokens = told(assembler, [0, MARKER, 1, 2, 3, 4, MARKER + 1])
    assert (text, len(calls), tokens) == ("Hi S", 1, [0])


def test_stop_strings_are_not_looked_for_in_calls() -> None:
    text, calls, _ = told(reading([b"Hi", *CALL], ['"a"']), [0, MARKER, 1, 2, 3, 4, MARKER + 1])
    assert (text, calls) == ("Hi", [["f", '{"a": 1}', True]])


def test_a_stop_string_in_the_content_ends_the_answer_before_its_calls() -> None:
    assembler = reading([b"Hi S", b"TOP", *CALL], ["STOP"])
    text, calls, tokens = told(assembler, [0, 1, MARKER, 2, 3, 4, 5, MARKER + 1])
    assert (text, calls, tokens) == ("Hi ", [], [0])
    assert (assembler.finish_reason, assembler.tokens_kept) == ("stop", 1)


def test_a_token_that_is_text_and_call_comes_with_the_text() -> None:
    pieces = [b"Hi", b'!\n<tool_call>\n{"na', b'me": "f", "arguments": {}}', b"\n</tool_call>"]
    assembler = reading(pieces, [], marked=False)
    assert told(assembler, [0, 1, 2, 3]) == ("Hi!", [["f", "{}", True]], [0, 1])
    assert assembler.tokens_kept == 4


def test_a_call_that_is_cut_off_is_incomplete() -> None:
    assembler = reading([*CALL], [])
    text, calls, tokens = told(assembler, [MARKER, 0, 1], "length")
    assert (text, calls, tokens) == ("", [["f", "{", False]], [])
    assert assembler.finish_reason == "length"


def test_a_control_token_of_no_call_is_the_text_it_reads() -> None:
    """Qwen3's thoughts stand between tokens that are text without tools, and with them."""
    controls = {"<tool_call>": 0, "</tool_call>": 1, "<think>": 2, "</think>": 3, "<|x|>": 4}
    pieces: list[bytes | None] = [b"<tool_call>", b"</tool_call>", b"<think>", b"</think>", None]
    parser = HERMES.parser([FunctionTool("f")], controls)
    markers = {token: spelling for spelling, token in controls.items()}
    pieces += [b"\nA call.\n", *CALL]
    assembler = Assembler[Event](Pieces(pieces), [], parser, markers)
    ids = [2, 5, 3, 4, 0, 6, 7, 8, 9, 1]
    expected = ("<think>\nA call.\n</think>", [["f", '{"a": 1}', True]], [2, 5, 3])
    assert told(assembler, ids) == expected


def test_an_opened_call_of_no_tool_is_the_text_it_reads() -> None:
    parser = HERMES.parser([FunctionTool("f")], {"<tool_call>": 0})
    pieces: list[bytes | None] = [b"<tool_call>", b"no"]
    assembler = Assembler[Event](Pieces(pieces), [], parser, {0: "<tool_call>"})
    assert told(assembler, [0, 1]) == ("<tool_call>no", [], [0, 1])


def test_what_looks_like_a_call_is_text_with_its_tokens() -> None:
    assembler = reading([b"<tool", b"_call> no"], [], marked=False)
    assert told(assembler, [0, 1]) == ("<tool_call> no", [], [0, 1])
