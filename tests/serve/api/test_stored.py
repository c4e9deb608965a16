import json
from pathlib import Path
from typing import Any

import pytest
from support.waiting import until

from serve.api.wire.stored import (
    StoredChatCompletion,
    StoredChatCompletionList,
    StoredMessageList,
)
from serve.engine.types import QueueFullError
from serve.store.completions import Completions
from serve.store.errors import StoreUnavailableError

URL = "/v1/chat/completions"


async def call(house: Any, method: str, path: str, **more: Any) -> tuple[int, Any]:
    response = await house.app.test_client().open(path, method=method, **more)
    return response.status_code, json.loads(await response.get_data())


async def stored(house: Any, ask: Any, **fields: Any) -> dict[str, Any]:
    response = await house.post(ask(store=True, **fields))
    assert response.status_code == 200, await response.get_data()
    return await response.get_json()


async def test_store_keeps_the_answer_and_what_was_asked(storing: Any, ask: Any) -> None:
    house = storing()
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    asked = {
        "metadata": {"job": "é\0"},
        "seed": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 1,
        "frequency_penalty": -1.5,
        "tools": [tool],
        "tool_choice": "none",
        "response_format": {"type": "text"},
    }
    response = await house.post(ask(store=True, user="ann", **asked), x_request_id="req-1")
    answer = await response.get_json()
    status, kept = await call(house, "GET", f"{URL}/{answer['id']}")
    assert status == 200
    assert kept == answer | asked | {"input_user": "ann", "request_id": "req-1"}
    StoredChatCompletion.model_validate_json(json.dumps(kept))


async def test_what_was_not_asked_is_null(storing: Any, ask: Any) -> None:
    house = storing()
    answer = await stored(house, ask)
    _, kept = await call(house, "GET", f"{URL}/{answer['id']}")
    added = {name: kept[name] for name in kept.keys() - answer.keys() - {"request_id"}}
    assert added.pop("metadata") == {}
    assert len(added) == 9
    assert set(added.values()) == {None}


@pytest.mark.parametrize("fields", [{}, {"store": None}, {"store": False}])
async def test_what_is_not_to_be_stored_is_not(storing: Any, ask: Any, fields: Any) -> None:
    house = storing()
    await house.post(ask(**fields))
    _, page = await call(house, "GET", URL)
    assert page == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 3},
        {"logprobs": True, "top_logprobs": 2},
        {"max_tokens": 2},
        {"stop": "l"},
        {"service_tier": "default"},
    ],
)
async def test_a_stream_is_stored_as_the_plain_answer_is(
    storing: Any, ask: Any, fields: Any, answering: Any
) -> None:
    house = storing(plan=answering("Hello é!", "Good bye"))
    plain = await stored(house, ask, **fields)
    body = await (await house.post(ask(store=True, stream=True, **fields))).get_data()
    assert body.endswith(b"data: [DONE]\n\n")
    streamed_id = json.loads(body.split(b"\n\n")[0].removeprefix(b"data: "))["id"]
    kept = [(await call(house, "GET", f"{URL}/{name}"))[1] for name in (plain["id"], streamed_id)]
    assert plain["choices"] == kept[0]["choices"]
    for one in kept:
        for name in ("id", "created", "request_id"):
            one.pop(name)
    assert kept[0] == kept[1]


async def test_a_stream_with_calls_is_stored_whole(storing: Any, ask: Any, answering: Any) -> None:
    text = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
    house = storing(settings={"tool_format": "hermes"}, plan=answering(text))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    fields = {"tools": [tool]}
    plain = await stored(house, ask, **fields)
    await (await house.post(ask(store=True, stream=True, **fields))).get_data()
    _, page = await call(house, "GET", f"{URL}?order=desc&limit=1")
    streamed = page["data"][0]
    assert streamed["id"] != plain["id"]
    for answer in (plain, streamed):
        for made in answer["choices"][0]["message"].get("tool_calls", []):
            made.pop("id")
    assert plain["choices"][0]["finish_reason"] == "tool_calls"
    assert streamed["choices"] == plain["choices"]


async def test_prompt_logprobs_are_stored_with_their_answer(storing: Any, ask: Any) -> None:
    house = storing()
    answer = await stored(house, ask, prompt_logprobs=1)
    _, kept = await call(house, "GET", f"{URL}/{answer['id']}")
    assert kept["prompt_logprobs"] == answer["prompt_logprobs"]


async def test_a_long_body_is_stored_too(storing: Any, ask: Any) -> None:
    house = storing(context_length=100_000)
    text = "x" * 5_000
    async with house.app.test_app():
        answer = await stored(house, ask, messages=[{"role": "user", "content": text}])
        _, page = await call(house, "GET", f"{URL}/{answer['id']}/messages")
    assert page["data"][0]["content"] == text


async def test_metadata_is_stored_found_and_replaced(storing: Any, ask: Any) -> None:
    house = storing()
    first = await stored(house, ask, metadata={"job": "a", "k[x]": "1&2"})
    await stored(house, ask, metadata={"job": "b"})
    _, page = await call(house, "GET", f"{URL}?metadata[job]=a&metadata%5Bk%5Bx%5D%5D=1%262")
    assert [entry["id"] for entry in page["data"]] == [first["id"]]
    status, changed = await call(
        house, "POST", f"{URL}/{first['id']}", json={"metadata": {"job": "c"}}
    )
    assert (status, changed["metadata"]) == (200, {"job": "c"})
    assert changed["choices"] == first["choices"]
    assert (await call(house, "GET", f"{URL}?metadata[job]=a"))[1]["data"] == []
    assert len((await call(house, "GET", f"{URL}?metadata[job]=c"))[1]["data"]) == 1
    _, changed = await call(house, "POST", f"{URL}/{first['id']}", json={"metadata": None})
    assert changed["metadata"] == {}


async def test_lists(storing: Any, ask: Any) -> None:
    house = storing()
    ids = [(await stored(house, ask))["id"] for _ in range(5)]
    _, page = await call(house, "GET", f"{URL}?limit=2")
    StoredChatCompletionList.model_validate_json(json.dumps(page))
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[0], ids[1], True)
    _, page = await call(house, "GET", f"/chat/completions?after={ids[1]}&order=asc")
    assert [entry["id"] for entry in page["data"]] == ids[2:]
    _, page = await call(house, "GET", f"{URL}?after={ids[1]}&order=desc&model=gpt-4o")
    assert [entry["id"] for entry in page["data"]] == ids[:1]
    assert (await call(house, "GET", f"{URL}?model=other"))[1]["data"] == []


async def test_messages(storing: Any, ask: Any) -> None:
    house = storing()
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    answer = await stored(house, ask, messages=messages)
    path = f"{URL}/{answer['id']}/messages"
    _, page = await call(house, "GET", path)
    StoredMessageList.model_validate_json(json.dumps(page))
    usual = {"name": None, "refusal": None, "content_parts": None}
    assert page["data"] == [
        {**usual, **said, "id": f"{answer['id']}-{place}"}
        for place, said in enumerate(
            [
                messages[0],
                {"role": "user", "content": None, "content_parts": parts},
                {"role": "assistant", "content": None, "refusal": "No."},
                {"role": "assistant", "content": None, "tool_calls": calls},
                messages[4],
            ]
        )
    ]
    _, page = await call(house, "GET", f"{path}?order=desc&limit=2&after={answer['id']}-4")
    assert [entry["id"][-1] for entry in page["data"]] == ["3", "2"]
    assert page["has_more"]


async def test_deletion(storing: Any, ask: Any) -> None:
    house = storing()
    answer = await stored(house, ask)
    path = f"{URL}/{answer['id']}"
    told = {"object": "chat.completion.deleted", "id": answer["id"], "deleted": True}
    assert await call(house, "DELETE", path) == (200, told)
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/messages")):
        status, body = await call(house, method, where)
        assert (status, body["error"]["code"]) == (404, "not_found")


async def test_one_key_sees_nothing_of_anothers(storing: Any, ask: Any) -> None:
    house = storing(settings={"api_keys": ("one", "two")})
    one, two = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
    response = await house.post(ask(store=True, metadata={"k": "v"}), authorization="Bearer one")
    mine = (await response.get_json())["id"]
    assert len((await call(house, "GET", URL, headers=one))[1]["data"]) == 1
    assert (await call(house, "GET", f"{URL}?metadata[k]=v", headers=two))[1]["data"] == []
    unknown = "chatcmpl-" + "0" * 22
    for method, path, body in (
        ("GET", "{}", None),
        ("POST", "{}", {"metadata": {}}),
        ("DELETE", "{}", None),
        ("GET", "{}/messages", None),
        ("GET", "?after={}", None),
    ):
        answers = []
        for name in (mine, unknown):
            where = f"{URL}{'' if path[0] == '?' else '/'}{path.format(name)}"
            status, told = await call(house, method, where, headers=two, json=body)
            answers.append((status, json.dumps(told).replace(name, "ID")))
        assert answers[0] == answers[1]
        assert answers[0][0] in (404, 400)
    assert (await call(house, "GET", f"{URL}/{mine}", headers=one))[0] == 200


async def test_without_a_store(house: Any, ask: Any) -> None:
    response = await house.post(ask(store=True))
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == ("store", "unsupported_parameter")
    assert "--store FILE" in error["message"]
    assert not house.engine.generations
    for path in (URL, f"{URL}/chatcmpl-{'0' * 22}", "/v1/files"):
        status, body = await call(house, "GET", path)
        assert (status, body["error"]["code"]) == (400, "store_off")


async def failing(*_: object) -> None:
    raise StoreUnavailableError("disk full")


def completions_of(house: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(Completions, name, failing)


async def released(house: Any, count: int) -> None:
    """Wait until so many reservations have been given up and nothing is left."""
    ended = f'store_seconds_count{{operation="release"}} {count}.0'

    def all_told() -> bool:
        text = house.metrics.render().decode()
        return ended in text and "parlance_store_bytes 0.0" in text

    await until(all_told)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("place", ["file", "postgresql"])
async def test_a_store_that_takes_nothing_is_told_before_generating(
    storing: Any, ask: Any, tmp_path: Path, stream: bool, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    # Nobody listens there.
    nowhere = f"postgresql://someone@/x?host={tmp_path}"
    store = nowhere if place == "postgresql" else str(tmp_path / "file" / "s.sqlite")
    house = storing(settings={"store": store})
    response = await house.post(ask(store=True, stream=stream))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["code"]) == (503, "store_unavailable")
    assert response.headers["Retry-After"] == "5"
    assert str(tmp_path) not in error["message"]
    assert not house.engine.generations
    assert (await house.post(ask())).status_code == 200
    assert (await call(house, "GET", URL))[0] == 503


async def test_a_full_store_is_told_before_generating(storing: Any, ask: Any) -> None:
    house = storing(settings={"store_bytes": 10})
    response = await house.post(ask(store=True))
    assert response.status_code == 503
    assert (await response.get_json())["error"]["code"] == "store_full"
    assert not house.engine.generations


async def test_an_answer_that_cannot_be_kept_is_no_answer(
    storing: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = storing()
    completions_of(house, monkeypatch, "finish")
    response = await house.post(ask(store=True))
    assert response.status_code == 503
    body = await (await house.post(ask(store=True, stream=True))).get_data()
    assert b"[DONE]" not in body
    last = json.loads(body.decode().rstrip().rpartition("data: ")[2])
    assert last["error"]["code"] == "store_unavailable"
    assert (await call(house, "GET", URL))[1]["data"] == []
    await released(house, 2)


async def test_a_refused_generation_leaves_no_reservation(storing: Any, ask: Any) -> None:
    house = storing(refuse=QueueFullError(1, 1, 1))
    assert (await house.post(ask(store=True))).status_code == 429
    await released(house, 1)
