import json
from collections.abc import Callable

import httpx
import pytest

from serve.chat.client import AnswerSettings, ChatClient, ChatError, ContextFullError, Piece

Handler = Callable[[httpx.Request], httpx.Response]
MODEL = AnswerSettings("m")


def client_of(handler: Handler, api_key: str = "") -> ChatClient:
    http = httpx.Client(transport=httpx.MockTransport(handler))
    return ChatClient("http://server/v1/", api_key, http)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def events(*payloads: str) -> Handler:
    """A handler that streams these payloads."""
    body = "".join(f"data: {payload}\n\n" for payload in payloads).encode()
    return lambda _: httpx.Response(200, content=body)


def delta(text: str | None) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})


def test_what_is_asked() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return events(delta("x"), "[DONE]")(request)

    settings = AnswerSettings("m", temperature=0.0, max_tokens=5)
    assert list(client_of(handler, "sk-1").answer([user("Hi")], settings)) == [Piece("x")]
    assert str(seen[0].url) == "http://server/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer sk-1"
    assert json.loads(seen[0].content) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "temperature": 0.0,
        "max_completion_tokens": 5,
    }


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return events("[DONE]")(request)

    assert list(client_of(handler).answer([], MODEL)) == []
    assert set(json.loads(seen[0].content)) == {"model", "messages", "stream"}
    assert "authorization" not in seen[0].headers


def test_an_answer_comes_in_pieces() -> None:
    usage = json.dumps({"choices": [], "usage": {"completion_tokens": 2}})
    end = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    client = client_of(
        events(delta(""), delta("né"), delta("e"), delta(None), end, usage, "[DONE]")
    )
    assert list(client.answer([], MODEL)) == [
        Piece(""),
        Piece("né"),
        Piece("e"),
        Piece(""),
        Piece("", "length"),
    ]


def test_what_a_terminal_gave_that_is_no_unicode_is_sent_all_the_same() -> None:
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return events("[DONE]")(request)

    list(client_of(handler).answer([user("\udcff")], MODEL))
    assert json.loads(seen[0])["messages"] == [user("\udcff")]


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (events(delta("x")), "the server closed the stream before its end"),
        (events(delta("x"), '{"error": {"message": "the engine died"}}'), "the engine died"),
        (events("nonsense"), "not JSON"),
        (events("[1]"), "not a JSON object"),
        (
            lambda _: httpx.Response(429, json={"error": {"message": "the queue is full"}}),
            "status 429: the queue is full",
        ),
        (lambda _: httpx.Response(502, text="bad gateway"), "status 502: bad gateway"),
    ],
)
def test_a_failure_is_explained(handler: Handler, sentence: str) -> None:
    with pytest.raises(ChatError, match=sentence):
        list(client_of(handler).answer([], MODEL))


def test_a_server_that_is_not_there() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ChatError, match="no server answers at http://server/v1"):
        list(client_of(refuse).answer([], MODEL))
    with pytest.raises(ChatError, match="parlance serve"):
        client_of(refuse).models()


def test_the_models_of_a_server() -> None:
    listed = {"data": [{"id": "one"}, {"id": "two"}, {}]}
    assert client_of(lambda _: httpx.Response(200, json=listed)).models() == ["one", "two"]
    assert client_of(lambda _: httpx.Response(200, json={})).models() == []
    with pytest.raises(ChatError, match="status 401"):
        client_of(lambda _: httpx.Response(401, json={"error": {}})).models()


def test_messages_that_are_longer_than_the_context() -> None:
    error = {"message": "at most 16 tokens", "code": "context_length_exceeded"}
    client = client_of(lambda _: httpx.Response(400, json={"error": error}))
    with pytest.raises(ContextFullError, match="status 400: at most 16 tokens"):
        list(client.answer([], MODEL))
