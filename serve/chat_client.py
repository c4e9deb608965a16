"""The terminal client: one conversation with a running server, streamed.

Speaks the public HTTP API only, so it works with any server of it. Knows nothing of the rest of
Parlance.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import httpx

from serve.event_stream import EventStreamReader

# A server sends keep-alive comments every few seconds: silence this long means it is gone.
_TIMEOUT = httpx.Timeout(10.0, read=120.0)

_COMMANDS = """/reset         forget the conversation
/system TEXT   set the system message; without TEXT, remove it
/help          show this list
/quit          end (so does Ctrl-D)
Ctrl-C stops an answer that is being written."""

# What a model writes is text, not orders to the terminal.
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class ChatError(Exception):
    """The server cannot be reached, or refuses; the message is for the person."""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What is asked of which server.

    Attributes:
        url: base address of the API, with its `/v1`.
        model: name of the model; empty for the first that the server lists.
        system: system message; empty for none.
        temperature: 0 to 2, or None for the server's default.
        max_tokens: longest answer, or None for what the context leaves.
        api_key: sent as a bearer token; empty for none.
    """

    url: str
    model: str = ""
    system: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    api_key: str = field(default="", repr=False)


class ChatClient:
    """Asks one server for answers."""

    def __init__(self, settings: ChatSettings, http: httpx.Client) -> None:
        self._settings = settings
        self._http = http

    def first_model(self) -> str:
        """Name of the first model that the server lists.

        Raises:
            ChatError: no server, or none that lists a model.
        """
        with self._explained():
            response = self._http.get(f"{self._base}/models", headers=self._headers)
            if not response.is_success:
                raise ChatError(_refusal(response))
            listed = _objects(_parse(response.content).get("data"))
        if not listed or not isinstance(listed[0].get("id"), str):
            raise ChatError(f"{self._base}/models lists no model; name one with --model")
        return str(listed[0]["id"])

    def answer(self, messages: list[dict[str, str]]) -> Generator[str, None, None]:
        """Pieces of the answer to `messages`, as they come. Closing the iterator cancels it.

        Raises:
            ChatError: no server, a refusal, or a failure on the way.
        """
        body: dict[str, Any] = {
            "model": self._settings.model,
            "messages": messages,
            "stream": True,
        }
        if self._settings.temperature is not None:
            body["temperature"] = self._settings.temperature
        if self._settings.max_tokens is not None:
            body["max_completion_tokens"] = self._settings.max_tokens
        with (
            self._explained(),
            self._http.stream(
                "POST", f"{self._base}/chat/completions", json=body, headers=self._headers
            ) as response,
        ):
            if not response.is_success:
                response.read()
                raise ChatError(_refusal(response))
            reader = EventStreamReader()
            for chunk in response.iter_bytes():
                for payload in reader.feed(chunk):
                    if payload == b"[DONE]":
                        return
                    yield from _pieces(_parse(payload))
            reader.flush()
            raise ChatError("the answer broke off: the server closed the stream before its end")

    @property
    def _base(self) -> str:
        return self._settings.url.rstrip("/")

    @property
    def _headers(self) -> dict[str, str]:
        key = self._settings.api_key
        return {"Authorization": f"Bearer {key}"} if key else {}

    @contextlib.contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise ChatError(
                f"no server answers at {self._base} ({error}); start one with `parlance serve`, "
                f"or give its address with --url"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ChatError(
                f"talking to {self._base} failed: {type(error).__name__}: {error}"
            ) from error


class Conversation:
    """The messages so far."""

    def __init__(self, system: str) -> None:
        self._system = system
        self._turns: list[dict[str, str]] = []

    def messages(self, question: str) -> list[dict[str, str]]:
        """What to send to have `question` answered."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        return [*system, *self._turns, {"role": "user", "content": question}]

    def add(self, question: str, answer: str) -> None:
        """Remember a question and what was answered to it."""
        self._turns.append({"role": "user", "content": question})
        self._turns.append({"role": "assistant", "content": answer})

    def reset(self) -> None:
        """Forget the turns; the system message stays."""
        self._turns = []

    def set_system(self, text: str) -> None:
        """Replace the system message; empty removes it."""
        self._system = text


def run_chat(settings: ChatSettings, message: str) -> int:
    """Answer `message`, or hold a conversation when it is empty and a person is typing.

    Returns:
        the exit code: 0, 1 after a failure, 130 when a single answer was stopped.
    """
    with httpx.Client(timeout=_TIMEOUT) as http:
        try:
            if not settings.model:
                settings = replace(settings, model=ChatClient(settings, http).first_model())
            client = ChatClient(settings, http)
            conversation = Conversation(settings.system)
            if message or not sys.stdin.isatty():
                return _answer_once(client, conversation, message or sys.stdin.read().strip())
            # Importing readline is what gives input() its line editing; not every Python has it.
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  # pyright: ignore[reportUnusedImport]
            print(f"Talking to {settings.model} at {settings.url}. /help lists the commands.")
            converse(client, conversation, lambda: input("\n> "))
        except ChatError as error:
            print(f"parlance: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


def _answer_once(client: ChatClient, conversation: Conversation, question: str) -> int:
    if not question:
        raise ChatError("there is no message: give one as an argument or on standard input")
    for piece in client.answer(conversation.messages(question)):
        _show(piece)
    _show("\n")
    return 0


def converse(client: ChatClient, conversation: Conversation, read_line: Callable[[], str]) -> None:
    """Read lines and answer them until `/quit` or the end of the input.

    A failed answer is reported and its question forgotten; a stopped one is remembered as far
    as it came.
    """
    while True:
        try:
            line = read_line().strip()
        except EOFError:
            _show("\n")
            return
        except KeyboardInterrupt:
            _show("\n")
            continue
        command, _, text = line.partition(" ")
        if command == "/quit":
            return
        if not line:
            continue
        if command.startswith("/"):
            _obey(command, text.strip(), conversation)
        else:
            _answer(client, conversation, line)


def _obey(command: str, text: str, conversation: Conversation) -> None:
    if command == "/reset":
        conversation.reset()
        print("The conversation is forgotten.")
    elif command == "/system":
        conversation.set_system(text)
        print("The system message is set." if text else "The system message is removed.")
    elif command == "/help":
        print(_COMMANDS)
    else:
        print(f"There is no command {command}.\n{_COMMANDS}")


def _answer(client: ChatClient, conversation: Conversation, question: str) -> None:
    pieces: list[str] = []
    try:
        with contextlib.closing(client.answer(conversation.messages(question))) as answer:
            for piece in answer:
                pieces.append(piece)
                _show(piece)
    except KeyboardInterrupt:
        _show(" [stopped]")
    except ChatError as error:
        print(f"\n{error}", file=sys.stderr)
        return
    _show("\n")
    conversation.add(question, "".join(pieces))


def _show(text: str) -> None:
    sys.stdout.write(text.translate(_CONTROL))
    sys.stdout.flush()


def _parse(payload: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(payload)
    except ValueError as error:
        raise ChatError(f"the server sent what is not JSON: {payload[:80]!r}") from error
    if not isinstance(parsed, dict):
        raise ChatError(f"the server sent what is not a JSON object: {payload[:80]!r}")
    return cast("dict[str, Any]", parsed)


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    entries = cast("list[object]", value)
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def _pieces(chunk: Mapping[str, Any]) -> Iterator[str]:
    error = chunk.get("error")
    if error is not None:
        raise ChatError(f"the answer broke off: {_error_message(error)}")
    for choice in _objects(chunk.get("choices")):
        delta = choice.get("delta")
        content = cast("dict[str, Any]", delta).get("content") if isinstance(delta, dict) else None
        if isinstance(content, str):
            yield content


def _error_message(error: object) -> str:
    if isinstance(error, dict):
        return str(cast("dict[str, Any]", error).get("message", error))
    return str(error)


def _refusal(response: httpx.Response) -> str:
    try:
        detail = _error_message(_parse(response.content).get("error"))
    except ChatError:
        detail = response.text[:200]
    return f"the server refuses with status {response.status_code}: {detail}"
