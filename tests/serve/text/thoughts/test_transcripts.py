"""Thoughts, words and calls come out of an answer however it is cut into tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from support.call_answers import Answer, assembled
from support.thought_transcripts import THINK, TRANSCRIPTS, Transcript

from serve.text.assemble import Assembler, Delta
from serve.text.calls.detect import FORMATS as CALLS
from serve.text.calls.events import Content
from serve.text.calls.tools import FunctionTool
from serve.text.thoughts.detect import FORMATS
from serve.text.thoughts.reading import answer_parser

TOOLS = (FunctionTool("get"),)
Pieces = list[tuple[bool, str]]


@dataclass(frozen=True)
class Event:
    token: int | None
    finish_reason: Any = None
    predicted: bool = False


class Tokens:
    """A tokenizer whose id n stands for the n-th piece of an answer.

    Tags are words of the vocabulary, as Qwen3 has them; other control tokens read nothing.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces

    def token_bytes(self, token: int) -> bytes | None:
        is_control, text = self.pieces[token]
        return None if is_control and text not in THINK else text.encode()


def read(transcript: Transcript, pieces: Pieces) -> tuple[list[Delta[Event]], Assembler[Event]]:
    parser = answer_parser(
        FORMATS[transcript.format],
        CALLS[transcript.calls],
        TOOLS,
        transcript.controls,
        transcript.beginning,  # pyright: ignore[reportArgumentType]
    )
    markers = {n: text for n, (is_control, text) in enumerate(pieces) if is_control}
    tokens: Any = Tokens(pieces)
    assembler = Assembler[Event](tokens, ["STOP"], parser, markers)
    deltas = [delta for n in range(len(pieces)) for delta in assembler.feed(Event(n))]
    deltas += assembler.feed(Event(None, "stop" if transcript.turn_ended else "length"))
    return deltas, assembler


def found(deltas: Sequence[Delta[Event]]) -> tuple[str, Answer]:
    content = "".join(delta.text for delta in deltas)
    answer = assembled(event for delta in deltas for event in delta.calls)
    return "".join(delta.thoughts for delta in deltas), Answer(content, answer.calls)


def cuts(transcript: Transcript) -> Iterator[Pieces]:
    """Runs of characters as one token, as a token each, and cut in two at each place."""
    yield transcript.pieces
    runs: Pieces = []
    for is_control, text in transcript.pieces:
        if runs and not is_control and not runs[-1][0]:
            runs[-1] = (False, runs[-1][1] + text)
        else:
            runs.append((is_control, text))
    yield runs
    for number, (is_control, text) in enumerate(runs):
        for cut in () if is_control else range(1, len(text)):
            halves = [(False, text[:cut]), (False, text[cut:])]
            yield [*runs[:number], *halves, *runs[number + 1 :]]


@pytest.fixture(params=TRANSCRIPTS, ids=lambda transcript: transcript.title)
def transcript(request: pytest.FixtureRequest) -> Transcript:
    return request.param


def test_every_cut_gives_the_same_thoughts_words_and_calls(transcript: Transcript) -> None:
    said = Answer(transcript.content, list(transcript.called))
    for pieces in cuts(transcript):
        deltas, _ = read(transcript, pieces)
        assert found(deltas) == (transcript.thoughts, said), pieces


def test_every_token_is_counted_once(transcript: Transcript) -> None:
    deltas, assembler = read(transcript, transcript.pieces)
    assert assembler.tokens_kept == len(transcript.pieces)
    assert assembler.reasoning_kept == transcript.reasoning
    # Each character is a token, so content has as many as it has characters.
    assert sum(len(delta.events) for delta in deltas) == len(transcript.content)


def test_thoughts_are_told_as_they_come(transcript: Transcript) -> None:
    deltas, _ = read(transcript, transcript.pieces)
    for before, after in pairwise(deltas):
        assert not (before.text and after.thoughts)
    assert sum(bool(delta.thoughts) for delta in deltas) >= len(transcript.thoughts.split())


def test_a_stop_string_is_looked_for_in_what_comes_after() -> None:
    transcript = next(each for each in TRANSCRIPTS if each.title.endswith("tokens: cut off"))
    written = "<think>STOP it</think>Go. STOP"
    pieces = Transcript("", "think", written, THINK, "", "").pieces
    deltas, assembler = read(transcript, pieces)
    assert found(deltas)[0] == "STOP it"
    assert found(deltas)[1].content == "Go. "
    assert (assembler.finish_reason, assembler.reasoning_kept) == ("stop", 7)


def test_a_token_of_thoughts_that_reads_nothing_is_one_of_them() -> None:
    pieces = [(True, "[THINK]"), (True, "[IMG]"), (False, "a"), (True, "[IMG]"), (True, "[/THINK]")]
    transcript = next(each for each in TRANSCRIPTS if each.format == "mistral")
    _, assembler = read(transcript, pieces)
    assert (assembler.tokens_kept, assembler.reasoning_kept) == (5, 3)


def test_a_token_of_the_answer_that_reads_nothing_comes_with_it() -> None:
    pieces = [(True, "[THINK]"), (False, "a"), (True, "[/THINK]"), (True, "[IMG]"), (False, "b")]
    markers = {n: text for n, (is_control, text) in enumerate(pieces) if is_control}
    tokens: Any = Tokens(pieces)
    for tools, events in ((None, [3, 4]), (TOOLS, [4])):
        parser = answer_parser(FORMATS["mistral"], CALLS["mistral-args"], tools, markers.values())
        assembler = Assembler[Event](tokens, [], parser, markers)
        deltas = [delta for n in range(5) for delta in assembler.feed(Event(n))]
        assert [event.token for delta in deltas for event in delta.events] == events


def test_half_a_character_of_thoughts_is_one_of_them() -> None:
    class Halves(Tokens):
        def token_bytes(self, token: int) -> bytes | None:
            return [b"<think>", b"\xc3", b"\xa9", b"\xc3", b"</think>", b"x"][token]

    parser = answer_parser(FORMATS["think"], CALLS["hermes"], None, THINK)
    tokens: Any = Halves([])
    assembler = Assembler[Event](tokens, [], parser, {0: "<think>", 4: "</think>"})
    deltas = [delta for n in range(6) for delta in assembler.feed(Event(n))]
    assert found(deltas) == ("é\ufffd", Answer("x"))
    assert assembler.reasoning_kept == 3


def test_positions_of_content_are_those_of_the_whole_answer() -> None:
    parser = answer_parser(FORMATS["think"], CALLS["hermes"], TOOLS, ())
    assert parser is not None
    written = "<think>a</think>\n\nSo: <tool_call> no"
    events = [*parser.feed(written), *parser.flush(turn_ended=True)]
    contents = [event for event in events if isinstance(event, Content)]
    assert "".join(event.text for event in contents) == "So: <tool_call> no"
    assert all(written.startswith(event.text, event.start) for event in contents)
