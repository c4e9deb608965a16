import asyncio
import json
from typing import Any

import pytest

from serve.api.wire.response import ChatCompletionChunk, ErrorBody
from serve.engine.types import EngineState, EngineUnavailableError, TokenEvent


async def chunks_of(house: Any, read_stream: Any, body: Any) -> list[Any]:
    response = await house.post(body)
    assert response.status_code == 200
    return read_stream(await response.get_data())


async def test_shape_of_a_stream(house: Any, ask: Any, read_stream: Any) -> None:
    response = await house.post(ask(stream=True))
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    *chunks, done = read_stream(await response.get_data())
    assert done == "[DONE]"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
        assert "usage" not in chunk
        assert "service_tier" not in chunk
    first, *content, last = [chunk["choices"][0] for chunk in chunks]
    assert first == {
        "index": 0,
        "delta": {"role": "assistant", "content": "", "refusal": None},
        "logprobs": None,
        "finish_reason": None,
    }
    assert [choice["delta"] for choice in content] == [{"content": c} for c in "Hello!"]
    assert last == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    heads = {
        (c["id"], c["object"], c["created"], c["model"], c["system_fingerprint"]) for c in chunks
    }
    assert len(heads) == 1
    assert next(iter(heads))[1:2] + next(iter(heads))[3:] == (
        "chat.completion.chunk",
        "tiny",
        "fp_test",
    )


async def test_choices_open_in_order_and_end_once(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    house = make_house(plan=answering("one", "a longer text", ""))
    *chunks, done = await chunks_of(house, read_stream, ask(stream=True, n=3))
    assert done == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [c["index"] for c in choices[:3]] == [0, 1, 2]
    assert all("role" in c["delta"] for c in choices[:3])
    assert not any("role" in c["delta"] for c in choices[3:])
    texts = ["", "", ""]
    ends: list[int] = []
    for choice in choices[3:]:
        assert choice["index"] not in ends, "a chunk after its choice's end"
        texts[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"]:
            assert choice["delta"] == {}
            ends.append(choice["index"])
    assert texts == ["one", "a longer text", ""]
    assert sorted(ends) == [0, 1, 2]


async def test_usage_chunk(make_house: Any, ask: Any, read_stream: Any) -> None:
    house = make_house(cached_tokens=4)
    body = ask(stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = await chunks_of(house, read_stream, body)
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 6
    assert usage["usage"]["prompt_tokens"] == 21
    assert usage["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    ChatCompletionChunk.model_validate(usage)


async def test_obfuscation_evens_out_sizes(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    letters = [TokenEvent(0, byte) for byte in b"aaaaaaaaaaaaaaaaaaaa"]
    steps = [[letters[0]], letters[:7], letters, [TokenEvent(0, None, "stop")]]
    house = make_house(plan=lambda _: steps)
    response = await house.post(ask(stream=True))
    blocks = (await response.get_data()).split(b"\n\n")
    contents = [block for block in blocks if b'"content":"a' in block]
    assert len(contents) == 3
    # 1, 7 and 20 letters: each with its padding fills the same 32 bytes and one more member.
    sizes = [len(json.loads(b[6:])["obfuscation"]) for b in contents]
    assert sizes == [32 - 13, 32 - 19, 32]
    assert len({json.loads(b[6:])["obfuscation"] for b in contents}) == 3

    chunks = await chunks_of(
        house, read_stream, ask(stream=True, stream_options={"include_obfuscation": False})
    )
    assert not any("obfuscation" in chunk for chunk in chunks[:-1])


async def test_tokens_of_one_step_share_a_chunk(
    make_house: Any, ask: Any, read_stream: Any
) -> None:
    steps = [
        [TokenEvent(0, 65), TokenEvent(1, 88), TokenEvent(0, 66)],
        [TokenEvent(0, None, "stop"), TokenEvent(1, 89, "length")],
    ]
    house = make_house(plan=lambda _: steps)
    chunks = await chunks_of(house, read_stream, ask(stream=True, n=2))
    said = [
        (c["choices"][0]["index"], c["choices"][0]["delta"]["content"])
        for c in chunks[2:-1]
        if c["choices"][0]["delta"]
    ]
    assert said == [(0, "AB"), (1, "X"), (1, "Y")]


async def test_characters_come_whole(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    text = "né🎈漢e\u0301 \u2028\u0085|"
    house = make_house(plan=answering(text))
    response = await house.post(ask(stream=True))
    raw = (await response.get_data()).decode()
    # Some clients end a line at these; JSON can say them without.
    assert not {"\u2028", "\u0085"} & set(raw)
    chunks = read_stream(raw.encode())
    contents = [c["choices"][0]["delta"].get("content", "") for c in chunks[1:-1]]
    assert "".join(contents) == text
    assert "\ufffd" not in "".join(contents)


async def test_stop_string_never_leaks(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    house = make_house(plan=answering("one ST two STOP three"))
    chunks = await chunks_of(house, read_stream, ask(stream=True, stop=["STOP", "STRAY"]))
    contents = [c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]]
    assert "".join(contents) == "one ST two "
    # "ST" may begin a stop string: it comes with the character that shows it does not.
    assert "ST " in contents
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert house.engine.generations[0].cancels[0] == 0


async def test_idle_stream_gets_comments(make_house: Any, ask: Any, read_stream: Any) -> None:
    house = make_house(
        plan=lambda _: [0.2, [TokenEvent(0, 65)], [TokenEvent(0, None, "stop")]],
        settings={"keep_alive_seconds": 0.03},
    )
    body = await (await house.post(ask(stream=True))).get_data()
    assert body.count(b": keep-alive\n\n") >= 2
    assert read_stream(body)[-1] == "[DONE]"


async def test_a_stream_of_which_nothing_is_told_gets_comments(
    make_house: Any, ask: Any, read_stream: Any
) -> None:
    """Thoughts that are not shown come, and the client would hear nothing."""
    thoughts = [[TokenEvent(0, token)] for token in b"<think>"]
    thoughts += [step for _ in range(20) for step in (0.02, [TokenEvent(0, 65)])]
    house = make_house(
        template="{#</think>#}{{ messages[0].content }}",
        plan=lambda _: [*thoughts, [TokenEvent(0, None, "length")]],
        settings={"keep_alive_seconds": 0.1},
    )
    body = await (await house.post(ask(stream=True))).get_data()
    assert body.count(b": keep-alive\n\n") >= 2
    assert len(read_stream(body)) == 3


async def test_busy_stream_gets_no_comments(make_house: Any, ask: Any) -> None:
    steps = [*([0.02, [TokenEvent(0, 65)]] * 10), [TokenEvent(0, None, "stop")]]
    house = make_house(plan=lambda _: steps, settings={"keep_alive_seconds": 5})
    assert b"keep-alive" not in await (await house.post(ask(stream=True))).get_data()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineUnavailableError(EngineState.DEAD), "engine_dead"),
        (ZeroDivisionError("inside knowledge"), "internal_error"),
    ],
)
async def test_failure_after_the_start_is_an_event(
    make_house: Any, ask: Any, read_stream: Any, error: Exception, code: str
) -> None:
    house = make_house(plan=lambda _: [[TokenEvent(0, 65)], error])
    response = await house.post(ask(stream=True))
    body = await response.get_data()
    assert response.status_code == 200
    *chunks, failure = read_stream(body)
    ErrorBody.model_validate(failure)
    assert failure["error"]["type"] == "server_error"
    assert failure["error"]["code"] == code
    assert chunks[-1]["choices"][0]["delta"] == {"content": "A"}
    assert b"[DONE]" not in body
    assert b"inside knowledge" not in body
    assert not house.engine.generations[0].running


async def test_refusal_comes_before_the_status_line(make_house: Any, ask: Any) -> None:
    house = make_house(state=EngineState.DRAINING)
    response = await house.post(ask(stream=True))
    assert response.status_code == 503
    assert response.content_type == "application/json"


async def test_streams_at_once_do_not_mix(make_house: Any, ask: Any, read_stream: Any) -> None:
    def plan(request: Any) -> Any:
        name = 97 + len(house.engine.generations) % 26
        return [*([[TokenEvent(0, name)]] * 20), [TokenEvent(0, None, "stop")]]

    house = make_house(plan=plan)
    all_chunks = await asyncio.gather(
        *(chunks_of(house, read_stream, ask(stream=True)) for _ in range(26))
    )
    texts = {
        "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1])
        for chunks in all_chunks
    }
    assert texts == {chr(97 + n) * 20 for n in range(26)}
