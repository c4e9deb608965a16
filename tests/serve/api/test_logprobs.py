"""Log-probabilities on the wire. The engine's are made up: see `made_up_logprobs`."""

import asyncio
import json
from codecs import getincrementaldecoder
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.api.answering.logprobs import EntryWriter, logprobs_json
from serve.api.wire.response import ChatCompletion, ChatCompletionChunk
from serve.engine.types import TokenEvent, TokenLogprobs

STOP = TokenEvent(0, None, "stop")


async def plain(house: Any, body: Any) -> Any:
    response = await house.post(body)
    answer = await response.get_json()
    assert response.status_code == 200, answer
    ChatCompletion.model_validate(answer)
    return answer


async def streamed(house: Any, read_stream: Any, body: Any) -> list[Any]:
    """The choices of all chunks, in order."""
    response = await house.post(body | {"stream": True})
    assert response.status_code == 200
    *chunks, done = read_stream(await response.get_data())
    assert done == "[DONE]"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    return [chunk["choices"][0] for chunk in chunks]


def entries_of(choice: Any) -> list[Any]:
    return choice["logprobs"]["content"] if choice["logprobs"] else []


async def test_shape_of_logprobs(house: Any, ask: Any) -> None:
    (choice,) = (await plain(house, ask(logprobs=True)))["choices"]
    assert choice["logprobs"] == {
        "content": [
            {"token": letter, "bytes": [ord(letter)], "logprob": -0.25, "top_logprobs": []}
            for letter in "Hello!"
        ],
        "refusal": None,
    }
    assert house.engine.request.sampling.logprobs


@pytest.mark.parametrize("fields", [{}, {"logprobs": False}, {"logprobs": None}])
async def test_null_where_nobody_asked(house: Any, ask: Any, read_stream: Any, fields: Any) -> None:
    (choice,) = (await plain(house, ask(**fields)))["choices"]
    assert choice["logprobs"] is None
    chunks = await streamed(house, read_stream, ask(**fields))
    assert [chunk["logprobs"] for chunk in chunks] == [None] * 8
    assert not house.engine.request.sampling.logprobs


@pytest.mark.parametrize("count", [0, 1, 2, 19, 20])
async def test_top_logprobs(make_house: Any, answering: Any, ask: Any, count: int) -> None:
    house = make_house(plan=answering("A"))  # id 65, then 72 ("H"), 79 ("O") …
    (choice,) = (await plain(house, ask(logprobs=True, top_logprobs=count)))["choices"]
    (entry,) = entries_of(choice)
    first = [
        {"token": "A", "bytes": [65], "logprob": -0.25},
        {"token": "H", "bytes": [72], "logprob": -0.5},
    ]
    assert entry["logprob"] == -0.25
    assert len(entry["top_logprobs"]) == count
    assert entry["top_logprobs"][:2] == first[:count]
    assert [top["logprob"] for top in entry["top_logprobs"]] == [
        -0.25 * (rank + 1) for rank in range(count)
    ]


async def test_a_small_vocabulary_has_fewer(make_house: Any, ask: Any) -> None:
    read = TokenLogprobs(-0.5, (66, 65), (-0.125, -0.5))
    house = make_house(plan=lambda _: [[TokenEvent(0, 65, "length", read)]])
    (choice,) = (await plain(house, ask(logprobs=True, top_logprobs=20)))["choices"]
    (entry,) = entries_of(choice)
    assert entry["logprob"] == -0.5
    assert [top["token"] for top in entry["top_logprobs"]] == ["B", "A"]


@pytest.mark.parametrize(("rank", "logprob"), [(0, -1.0), (19, -20.0), (None, -9999.0)])
async def test_an_unlikely_token(make_house: Any, ask: Any, rank: Any, logprob: float) -> None:
    """The rule looks at the 20 likeliest, however few of them are listed."""
    ids = list(range(100, 120))
    if rank is not None:
        ids[rank] = 65
    read = TokenLogprobs(-20.5, tuple(ids), tuple(-1.0 - n for n in range(20)))
    house = make_house(plan=lambda _: [[TokenEvent(0, 65, "length", read)]])
    (choice,) = (await plain(house, ask(logprobs=True, top_logprobs=1)))["choices"]
    (entry,) = entries_of(choice)
    assert entry["logprob"] == logprob
    assert len(entry["top_logprobs"]) == 1


async def test_numbers_are_exact_and_always_json(make_house: Any, ask: Any) -> None:
    numbers = (-0.0, -1e-10, -0.31725305318832397, -1234.5, float("-inf"))
    read = TokenLogprobs(-0.0, (65, 66, 67, 68, 69), numbers)
    house = make_house(plan=lambda _: [[TokenEvent(0, 65, "length", read)]])
    (choice,) = (await plain(house, ask(logprobs=True, top_logprobs=5)))["choices"]
    (entry,) = entries_of(choice)
    told = [top["logprob"] for top in entry["top_logprobs"]]
    assert told == [0.0, -1e-10, -0.31725305318832397, -1234.5, -9999.0]
    # Some clients take a number without a point for an integer.
    assert all(isinstance(number, float) for number in told)


async def test_bytes_are_exact(make_house: Any, answering: Any, ask: Any) -> None:
    text = "aé🎈"
    house = make_house(plan=answering(text))
    (choice,) = (await plain(house, ask(logprobs=True)))["choices"]
    entries = entries_of(choice)
    assert [entry["bytes"] for entry in entries] == [[byte] for byte in text.encode()]
    assert [entry["token"] for entry in entries] == ["a", *["\ufffd"] * 6]


async def test_control_tokens_have_no_bytes(make_house: Any, ask: Any, read_stream: Any) -> None:
    # 258 is </s>, which ends no turn here.
    read = TokenLogprobs(-0.5, (258, 65), (-0.5, -1.0))
    events = [[TokenEvent(0, 65)], [TokenEvent(0, 258, None, read)], [STOP]]
    house = make_house(plan=lambda _: events)
    body = ask(logprobs=True, top_logprobs=2)
    answer = await plain(house, body)
    (choice,) = answer["choices"]
    control = {"token": "</s>", "bytes": None, "logprob": -0.5}
    assert entries_of(choice)[1] == control | {
        "top_logprobs": [control, {"token": "A", "bytes": [65], "logprob": -1.0}]
    }
    assert choice["message"]["content"] == "A"
    assert answer["usage"]["completion_tokens"] == 2
    chunks = await streamed(house, read_stream, body)
    assert [chunk["delta"].get("content") for chunk in chunks[1:]] == ["A", "", None]
    assert entries_of(chunks[2]) == entries_of(choice)[1:]


async def test_two_ids_with_the_same_text_are_two_entries(make_house: Any, ask: Any) -> None:
    # The pieces 256 and 257 are both "A", as is the byte 65.
    read = TokenLogprobs(-1.0, (65, 256, 257), (-1.0, -1.0, -2.0))
    house = make_house(pieces=[b"A", b"A"], plan=lambda _: [[TokenEvent(0, 257, "length", read)]])
    (choice,) = (await plain(house, ask(logprobs=True, top_logprobs=3)))["choices"]
    (entry,) = entries_of(choice)
    assert [top["token"] for top in entry["top_logprobs"]] == ["A", "A", "A"]
    assert entry["logprob"] == -2.0


async def test_shape_of_a_stream_with_logprobs(house: Any, ask: Any, read_stream: Any) -> None:
    first, *content, last = await streamed(house, read_stream, ask(logprobs=True, top_logprobs=1))
    assert (first["logprobs"], last["logprobs"]) == (None, None)
    assert last["delta"] == {}
    entry = {"token": "H", "bytes": [72], "logprob": -0.25}
    assert content[0] == {
        "index": 0,
        "delta": {"content": "H"},
        "logprobs": {"content": [entry | {"top_logprobs": [entry]}], "refusal": None},
        "finish_reason": None,
    }
    assert len(content) == 6


async def test_entries_are_held_back_with_their_text(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    house = make_house(plan=answering("aSTb STOP"))
    body = ask(logprobs=True, stop="STOP")
    chunks = await streamed(house, read_stream, body)
    assert [
        (chunk["delta"]["content"], "".join(entry["token"] for entry in entries_of(chunk)))
        for chunk in chunks[1:-1]
    ] == [("a", "a"), ("STb", "STb"), (" ", " ")]
    answer = await plain(house, body)
    assert answer["choices"][0]["message"]["content"] == "aSTb "
    assert len(entries_of(answer["choices"][0])) == answer["usage"]["completion_tokens"] == 5


async def test_a_token_that_a_stop_string_cuts_is_kept(
    make_house: Any, ask: Any, read_stream: Any
) -> None:
    # Pieces 256 and 257. "ab" and the "c" are out when "S" is held back with its token's entry.
    house = make_house(
        pieces=[b"cS", b"TOP and"],
        plan=lambda _: [[TokenEvent(0, 97)], [TokenEvent(0, 256)], [TokenEvent(0, 257)], [STOP]],
    )
    body = ask(logprobs=True, stop="STOP")
    chunks = await streamed(house, read_stream, body)
    assert [
        (chunk["delta"]["content"], [entry["token"] for entry in entries_of(chunk)])
        for chunk in chunks[1:-1]
    ] == [("a", ["a"]), ("c", []), ("", ["cS"])]
    # A content chunk whose entries wait says so with an empty list.
    assert chunks[2]["logprobs"] == {"content": [], "refusal": None}
    answer = await plain(house, body)
    assert answer["choices"][0]["message"]["content"] == "ac"
    assert [entry["token"] for entry in entries_of(answer["choices"][0])] == ["a", "cS"]
    assert answer["usage"]["completion_tokens"] == 2


async def test_an_unfinished_character_keeps_its_bytes(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    house = make_house(plan=answering("a🎈"))
    body = ask(logprobs=True, max_tokens=3)
    (choice,) = (await plain(house, body))["choices"]
    assert choice["message"]["content"] == "a\ufffd"
    assert [entry["bytes"] for entry in entries_of(choice)] == [[97], [0xF0], [0x9F]]
    chunks = await streamed(house, read_stream, body)
    assert chunks[-2]["delta"] == {"content": "\ufffd"}
    assert [entry["bytes"] for entry in entries_of(chunks[-2])] == [[0xF0], [0x9F]]


async def test_each_choice_has_its_own_entries(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    house = make_house(plan=answering("ab", "xyz", ""))
    body = ask(logprobs=True, n=3)
    answer = await plain(house, body)
    told = ["".join(entry["token"] for entry in entries_of(choice)) for choice in answer["choices"]]
    assert told == ["ab", "xyz", ""]
    assert answer["choices"][2]["logprobs"] == {"content": [], "refusal": None}
    assert answer["usage"]["completion_tokens"] == 5
    streams = ["", "", ""]
    for chunk in await streamed(house, read_stream, body):
        streams[chunk["index"]] += "".join(entry["token"] for entry in entries_of(chunk))
    assert streams == told


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_without_logprobs_is_a_server_error(
    make_house: Any, ask: Any, read_stream: Any, monkeypatch: Any, stream: bool
) -> None:
    house = make_house()
    submit = house.engine.submit

    def forgetful(request: Any) -> Any:
        generation = submit(request)
        monkeypatch.setattr(generation, "_with_logprobs", lambda event: event)
        return generation

    monkeypatch.setattr(house.engine, "submit", forgetful)
    response = await house.post(ask(logprobs=True, stream=stream))
    body = await response.get_data()
    error = read_stream(body)[-1] if stream else json.loads(body)
    assert error["error"]["code"] == "internal_error"


async def test_obfuscation_covers_the_entries(make_house: Any, ask: Any, read_stream: Any) -> None:
    """Entries of different lengths make chunks of the same size, up to a multiple of 32."""
    house = make_house(
        pieces=[b"a longer piece"],
        plan=lambda _: [[TokenEvent(0, 97)], [TokenEvent(0, 256)], [TokenEvent(0, 98)], [STOP]],
    )
    response = await house.post(ask(stream=True, logprobs=True))
    blocks = (await response.get_data()).split(b"\n\n")
    sizes = [len(block) for block in blocks if b'"content":[{' in block]
    assert len(sizes) == 3
    assert sizes[0] == sizes[2]
    assert (sizes[1] - sizes[0]) % 32 == 0


def test_a_token_is_encoded_once(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer()
    asked: list[int] = []
    text = tokenizer.token_text
    tokenizer.token_text = lambda token: asked.append(token) or text(token)
    writer = EntryWriter(tokenizer)
    read = TokenLogprobs(-1.0, (65, 66), (-1.0, -2.0))
    events = [TokenEvent(0, 65, None, read)] * 3
    entries = writer.entries(events, 2)
    assert asked == [65, 66]
    assert len(set(entries)) == 1
    assert json.loads(logprobs_json(entries))["content"][2]["top_logprobs"][1]["token"] == "B"


# Pieces that cut characters and the stop strings of the fuzz in all sorts of places.
PIECES = [
    b"ab", b"a\xc3", b"\xa9b", b"\xf0\x9f", b"\x8e\x88", b"\x8e\x88a", b"ba\xf0", b"\x9f\x8e\x88",
    "é🎈".encode(), "🎈b".encode(), b"aab", b"bb",
]  # fmt: skip
TOKENS = st.one_of(
    st.sampled_from([97, 98, *range(256, 256 + len(PIECES))]),
    st.sampled_from([*"é🎈".encode(), 0xFF, 256 + len(PIECES)]),
)


@settings(deadline=None, max_examples=300)
@given(
    tokens=st.lists(TOKENS, max_size=14),
    ended=st.booleans(),
    stops=st.lists(st.text("abé🎈", min_size=1, max_size=3), max_size=3),
    sizes=st.lists(st.integers(1, 4), max_size=14),
    alternatives=st.integers(0, 20),
)
def test_whatever_is_sampled(
    shared_house: Any,
    ask: Any,
    read_stream: Any,
    tokens: list[int],
    ended: bool,
    stops: list[str],
    sizes: list[int],
    alternatives: int,
) -> None:
    """Streams and plain answers carry the same entries, and these are the answer's tokens."""
    events = [TokenEvent(0, token) for token in tokens]
    if ended or not events:
        events.append(STOP)
    else:
        events[-1] = TokenEvent(0, tokens[-1], "length")
    shared_house.engine.plan = lambda _: in_steps(events, sizes)
    body = ask(logprobs=True, top_logprobs=alternatives, **({"stop": stops} if stops else {}))
    answer, chunks = asyncio.run(both(shared_house, read_stream, body))
    (choice,) = answer["choices"]
    content, entries = choice["message"]["content"], entries_of(choice)

    opening, *told, finish = chunks
    assert [entry for chunk in told for entry in entries_of(chunk)] == entries
    assert "".join(chunk["delta"]["content"] for chunk in told) == content
    assert all(chunk["delta"]["content"] or entries_of(chunk) for chunk in told)
    assert opening["logprobs"] is finish["logprobs"] is None
    assert finish["finish_reason"] == choice["finish_reason"]
    out, released = "", b""
    for chunk in told[:-1]:
        # No entry is out before its token's text is.
        out += chunk["delta"]["content"]
        released += joined(entries_of(chunk))
        assert out.startswith(getincrementaldecoder("utf-8")("replace").decode(released))

    assert len(entries) == answer["usage"]["completion_tokens"]
    exact = [shared_house.tokenizer.token_bytes(token) for token in tokens]
    kept = [None if entry["bytes"] is None else bytes(entry["bytes"]) for entry in entries]
    assert kept == exact[: len(kept)]
    assert all(len(entry["top_logprobs"]) == alternatives for entry in entries)

    everything = b"".join(piece or b"" for piece in exact).decode(errors="replace")
    if not any(stop in everything for stop in stops):
        assert len(kept) == len(tokens)
        assert joined(entries).decode(errors="replace") == content
    elif b"\xff" not in joined(entries) and "\ufffd" not in content:
        # The kept tokens hold the content, and the last of them with text is needed for it.
        assert joined(entries).startswith(content.encode())
        while kept and not kept[-1]:
            kept.pop()
        assert not kept or len(b"".join(piece or b"" for piece in kept[:-1])) < len(
            content.encode()
        )


@pytest.fixture(scope="module")
def shared_house(make_house: Any) -> Any:
    return make_house(pieces=PIECES)


def joined(entries: list[Any]) -> bytes:
    return b"".join(bytes(entry["bytes"] or ()) for entry in entries)


def in_steps(events: list[TokenEvent], sizes: list[int]) -> list[list[TokenEvent]]:
    """The events in batches of the given sizes, the rest one by one."""
    steps: list[list[TokenEvent]] = []
    start = 0
    for size in [*sizes, *[1] * len(events)]:
        if start < len(events):
            steps.append(events[start : start + size])
        start += size
    return steps


async def both(house: Any, read_stream: Any, body: Any) -> tuple[Any, list[Any]]:
    return await plain(house, body), await streamed(house, read_stream, body)
