import pytest
from support.call_answers import assembled, parse
from support.call_transcripts import TOOLS, TRANSCRIPTS, Transcript

from serve.text.calls.detect import FORMATS
from serve.text.calls.events import CallArguments, CallStarted, Content, Event, Parser
from serve.text.calls.tools import CustomTool, FunctionTool


def parser(transcript: Transcript) -> Parser:
    return FORMATS[transcript.format].parser(TOOLS, transcript.controls)


@pytest.fixture(params=TRANSCRIPTS, ids=lambda transcript: transcript.title)
def transcript(request: pytest.FixtureRequest) -> Transcript:
    return request.param


def test_a_transcript_gives_its_answer(transcript: Transcript) -> None:
    ended = transcript.turn_ended
    assert parse(parser(transcript), transcript.fed, turn_ended=ended) == transcript.answer


def test_cuts_make_no_difference(transcript: Transcript) -> None:
    whole = transcript.fed
    for number, (is_control, text) in enumerate(whole):
        for cut in range(1, len(text)) if not is_control else ():
            parts = [
                *whole[:number],
                (False, text[:cut]),
                (False, text[cut:]),
                *whole[number + 1 :],
            ]
            got = parse(parser(transcript), parts, turn_ended=transcript.turn_ended)
            assert got == transcript.answer, text[:cut]


def test_character_by_character_is_the_same(transcript: Transcript) -> None:
    single: list[tuple[bool, str]] = []
    for is_control, text in transcript.fed:
        single += [(True, text)] if is_control else [(False, character) for character in text]
    got = parse(parser(transcript), single, turn_ended=transcript.turn_ended)
    assert got == transcript.answer


def test_without_tools_all_is_text(transcript: Transcript) -> None:
    if transcript.format == "gpt-oss":
        return
    plain = FORMATS[transcript.format].parser((), transcript.controls)
    characters = "".join(text for is_control, text in transcript.fed if not is_control)
    answer = parse(plain, transcript.fed)
    assert (answer.content, answer.calls) == (characters, [])


def test_arguments_are_told_with_the_character_that_they_end_on() -> None:
    for transcript in TRANSCRIPTS:
        reader = parser(transcript)
        calls = iter(transcript.answer.calls)
        for is_control, text in transcript.fed:
            if is_control:
                reader.feed_control(text)
                continue
            for character in text:
                for event in reader.feed(character):
                    if isinstance(event, CallStarted):
                        custom = next(calls).kind == "custom"
                    if isinstance(event, CallArguments) and not custom:
                        assert event.text == character


@pytest.mark.parametrize("name", ["hermes", "gemma3", "functools", "llama3"])
def test_text_is_told_at_once_where_it_cannot_be_a_call(name: str) -> None:
    reader = FORMATS[name].parser(TOOLS, ())
    assert reader.feed("Hello") == [Content("Hello", 0)]
    # White space may belong to a call that follows it.
    assert reader.feed(" ") == []
    assert reader.feed("you") == [Content(" you", 5)]
    assert reader.feed("\n") == []
    assert reader.flush(turn_ended=True) == [Content("\n", 9)]


def test_a_call_is_told_when_its_arguments_begin() -> None:
    reader = FORMATS["hermes"].parser(TOOLS, ())
    events = reader.feed('<tool_call>\n{"name": "get_weather", "arguments": ')
    assert events == []
    events = reader.feed('{"ci')
    assert events == [CallStarted(0, "get_weather", "function"), CallArguments(0, '{"ci')]
    assert reader.feed('ty": "X"') == [CallArguments(0, 'ty": "X"')]


def test_names_that_begin_alike() -> None:
    tools = [FunctionTool("get"), FunctionTool("get_weather"), CustomTool("get_we")]
    written = (
        "[TOOL_CALLS]get[ARGS]{}[TOOL_CALLS]get_weather[ARGS]{}"
        "[TOOL_CALLS]get_w[ARGS]{}[TOOL_CALLS]get_we[ARGS]{}"
    )
    events: list[Event] = []
    reader = FORMATS["mistral-args"].parser(tools, ())
    events += [*reader.feed(written), *reader.flush(turn_ended=True)]
    answer = assembled(events)
    assert [(call.name, call.text) for call in answer.calls] == [
        ("get", "{}"),
        ("get_weather", "{}"),
        ("get_we", "{}"),
    ]
    assert answer.content == "[TOOL_CALLS]get_w[ARGS]{}"


def test_an_input_bound_by_lark_may_hold_the_end_spelled() -> None:
    tools = [CustomTool("sum", lark='start: "a"')]
    written = '<tool_call>\n{"name": "sum"}\na\n</tool_call>\nb'
    reader = FORMATS["hermes"].parser(tools, ())
    answer = assembled([*reader.feed(written), *reader.flush(turn_ended=True)])
    assert answer.calls[0].text == "a\n</tool_call>\nb"


def test_foreign_control_tokens_leave_no_trace() -> None:
    reader = FORMATS["hermes"].parser(TOOLS, {"<|x|>"})
    events: list[Event] = []
    for piece in ("a", None, "b ", None, '<tool_call>{"name": "get", "arguments": {', None, "}}"):
        events += reader.feed_control("<|x|>") if piece is None else reader.feed(piece)
    answer = assembled([*events, *reader.flush(turn_ended=True)])
    assert (answer.content, [call.text for call in answer.calls]) == ("ab", ["{}"])


def test_a_cut_before_the_arguments_leaves_no_trace_of_the_call(transcript: Transcript) -> None:
    """Wherever `max_tokens` cuts it, content is words of the answer, and a call has its name."""
    whole = [
        (is_control, piece)
        for is_control, text in transcript.fed
        for piece in ([text] if is_control else text)
    ]
    for length in range(len(whole) + 1):
        answer = parse(parser(transcript), whole[:length], turn_ended=False)
        assert transcript.answer.content.startswith(answer.content.rstrip())
        assert len(answer.calls) <= len(transcript.answer.calls)
        for got, called in zip(answer.calls, transcript.answer.calls, strict=False):
            assert (got.name, got.kind) == (called.name, called.kind)
            assert called.text.startswith(got.text) or not got.complete


BEGINNINGS = {
    "hermes": "<tool_cal",
    "generic": "<",
    "llama3": '{"nam',
    "mistral": "[TOOL",
    "mistral-ids": "[TOOL_CALLS",
    "mistral-args": "[T",
    "gemma3": "```tool_code",
    "phi4-mini": "<|tool",
    "functools": "functools",
}


@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.parametrize("words", ["", "So:", "So:\n"])
def test_what_may_begin_a_call_is_content_only_if_the_turn_ends(name: str, words: str) -> None:
    if words and name == "llama3":
        return
    beginning = BEGINNINGS[name]
    fed = [(False, f"{words}{beginning}")]
    for tools, turn_ended, content in (
        (TOOLS, False, words.strip()),
        (TOOLS, True, words + beginning),
        ((), False, words + beginning),
    ):
        answer = parse(FORMATS[name].parser(tools, ()), fed, turn_ended=turn_ended)
        assert (answer.content, answer.calls) == (content, [])


def test_every_format_with_markers_of_characters_is_cut() -> None:
    assert {*BEGINNINGS, "gpt-oss"} == set(FORMATS)
