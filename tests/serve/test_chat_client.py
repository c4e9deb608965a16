import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

import httpx
import pytest

from serve.chat_client import ChatClient, ChatError, ChatSettings, Conversation, converse

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler, **settings: Any) -> ChatClient:
    http = httpx.Client(transport=httpx.MockTransport(handler))
    return ChatClient(ChatSettings("http://server/v1/", **settings), http)


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

    client = client_of(handler, model="m", temperature=0.0, max_tokens=5, api_key="sk-1")
    assert list(client.answer([user("Hi")])) == ["x"]
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

    assert list(client_of(handler, model="m").answer([])) == []
    assert set(json.loads(seen[0].content)) == {"model", "messages", "stream"}
    assert "authorization" not in seen[0].headers


def test_an_answer_comes_in_pieces() -> None:
    usage = json.dumps({"choices": [], "usage": {"completion_tokens": 2}})
    client = client_of(events(delta(""), delta("né"), delta("e"), delta(None), usage, "[DONE]"))
    assert list(client.answer([])) == ["", "né", "e"]


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
        list(client_of(handler).answer([]))


def test_a_server_that_is_not_there() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ChatError, match="no server answers at http://server/v1"):
        list(client_of(refuse).answer([]))
    with pytest.raises(ChatError, match="parlance serve"):
        client_of(refuse).first_model()


def test_the_first_model_is_taken() -> None:
    listed = {"data": [{"id": "one"}, {"id": "two"}]}
    assert client_of(lambda _: httpx.Response(200, json=listed)).first_model() == "one"
    for answer in ({"data": []}, {}, {"data": [{}]}):
        with pytest.raises(ChatError, match="--model"):
            client_of(lambda _, answer=answer: httpx.Response(200, json=answer)).first_model()
    with pytest.raises(ChatError, match="status 401"):
        client_of(lambda _: httpx.Response(401, json={"error": {}})).first_model()


class ScriptedClient(ChatClient):
    """Answers from a list; an exception in an answer is raised in its place."""

    def __init__(self, answers: list[list[str | BaseException]]) -> None:
        self.asked: list[list[dict[str, str]]] = []
        self._answers = iter(answers)

    def answer(self, messages: list[dict[str, str]]) -> Generator[str, None, None]:
        self.asked.append(messages)
        for piece in next(self._answers):
            if isinstance(piece, BaseException):
                raise piece
            yield piece


def talk(client: ChatClient, lines: list[str | BaseException], system: str = "") -> None:
    """Hold the conversation that `lines` type; its end is Ctrl-D."""
    typed: Iterator[str | BaseException] = iter([*lines, EOFError()])

    def read_line() -> str:
        line = next(typed)
        if isinstance(line, BaseException):
            raise line
        return line

    converse(client, Conversation(system), read_line)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_chat_remembers(capsys: pytest.CaptureFixture[str]) -> None:
    client = ScriptedClient([["Hel", "lo"], ["Bye"]])
    talk(client, ["Hi", "", "Later"], system="Be brief.")
    system = {"role": "system", "content": "Be brief."}
    assert client.asked == [
        [system, user("Hi")],
        [system, user("Hi"), assistant("Hello"), user("Later")],
    ]
    assert capsys.readouterr().out == "Hello\nBye\n\n"


def test_chat_commands(capsys: pytest.CaptureFixture[str]) -> None:
    client = ScriptedClient([["a"], ["b"], ["c"]])
    talk(client, ["1", "/reset", "/system Be kind.", "2", "/system", "3", "/what", "/quit", "4"])
    assert client.asked == [
        [user("1")],
        [{"role": "system", "content": "Be kind."}, user("2")],
        [user("2"), assistant("b"), user("3")],
    ]
    out = capsys.readouterr().out
    assert "There is no command /what." in out
    assert "/reset         forget the conversation" in out


def test_ctrl_c_stops_the_answer_and_not_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    client = ScriptedClient([["half", KeyboardInterrupt()], ["next"]])
    talk(client, ["1", KeyboardInterrupt(), "2"])
    assert client.asked[1] == [user("1"), assistant("half"), user("2")]
    assert "half [stopped]\n" in capsys.readouterr().out


def test_a_failed_answer_is_reported_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    client = ScriptedClient([["half", ChatError("the queue is full")], ["next"]])
    talk(client, ["1", "2"])
    assert client.asked[1] == [user("2")]
    assert "the queue is full" in capsys.readouterr().err


def test_control_characters_of_an_answer_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    talk(ScriptedClient([["a\x1b[2Jb\x07\r\x9b", "ü\t\n"]]), ["1"])
    assert capsys.readouterr().out == "a[2Jbü\t\n\n\n"
