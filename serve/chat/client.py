"""Asks a server for answers: requests out, pieces of text in. Knows nothing of terminals."""

import contextlib
import json
import ssl
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx

from serve.event_stream import EventStreamReader

Message = dict[str, str]

# OpenSSL's names for what a certificate of one's own fails with (openssl-verification-options).
_SELF_SIGNED = 18
_ISSUER_UNKNOWN = {_SELF_SIGNED, 19, 20, 21}


class ChatError(Exception):
    """The server cannot be reached, or refuses; the message is for the person."""


class ContextFullError(ChatError):
    """The server refuses because the messages are longer than the model's context."""


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """What is asked for beside the messages.

    Attributes:
        model: name of the model.
        temperature: 0 to 2, or None for the server's default.
        max_tokens: longest answer, or None for what the context leaves.
    """

    model: str
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer.

    Attributes:
        text: what it adds.
        finish_reason: why the answer ends with it; empty where it goes on.
    """

    text: str
    finish_reason: str = ""


class ChatClient:
    """Asks one server.

    Args:
        url: base address of the API, with its `/v1`.
        api_key: sent as a bearer token; empty for none.
        http: what connects.
    """

    def __init__(self, url: str, api_key: str, http: httpx.Client) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = http

    def models(self) -> list[str]:
        """Names of the models that the server lists.

        Raises:
            ChatError: no server, or a refusal.
        """
        with self._explained():
            response = self._http.get(f"{self.url}/models", headers=self._headers)
            if not response.is_success:
                raise _refusal(response)
            listed = _objects(_parse(response.content).get("data"))
        return [entry["id"] for entry in listed if isinstance(entry.get("id"), str)]

    def answer(
        self, messages: list[Message], settings: AnswerSettings
    ) -> Generator[Piece, None, None]:
        """The answer to `messages`, as it comes. Closing the generator cancels it.

        Raises:
            ChatError: no server, a refusal, or a failure on the way.
        """
        body: dict[str, Any] = {"model": settings.model, "messages": messages, "stream": True}
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.max_tokens is not None:
            body["max_completion_tokens"] = settings.max_tokens
        with (
            self._explained(),
            self._http.stream(
                "POST",
                f"{self.url}/chat/completions",
                # ASCII, because what a terminal gives need not be Unicode.
                content=json.dumps(body),
                headers={"Content-Type": "application/json", **self._headers},
            ) as response,
        ):
            if not response.is_success:
                response.read()
                raise _refusal(response)
            reader = EventStreamReader()
            for chunk in response.iter_bytes():
                for payload in reader.feed(chunk):
                    if payload == b"[DONE]":
                        return
                    yield from _pieces(_parse(payload))
            reader.flush()
            raise ChatError("the answer broke off: the server closed the stream before its end")

    @contextlib.contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise ChatError(_no_connection(self.url, error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ChatError(
                f"talking to {self.url} failed: {type(error).__name__}: {error}"
            ) from error


def _no_connection(url: str, error: httpx.ConnectError) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return (
            f"no server answers at {url} ({error}); start one with `parlance serve`, "
            f"or give its address with --url"
        )
    if cause.verify_code == _SELF_SIGNED:
        what = "is self-signed, so that nobody vouches for it"
    else:
        what = f"cannot be trusted ({cause.verify_message})"
    trust = "name it, or who signed it, with --cafile FILE or SSL_CERT_FILE"
    remedy = (
        f"{trust}, or connect unchecked with --insecure"
        if cause.verify_code in _ISSUER_UNKNOWN
        else "if you know the server all the same, connect unchecked with --insecure"
    )
    return f"the certificate of {url} {what}; {remedy}"


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
    return [_object(entry) for entry in entries if isinstance(entry, dict)]


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _pieces(chunk: Mapping[str, Any]) -> Iterator[Piece]:
    if (error := chunk.get("error")) is not None:
        raise ChatError(f"the answer broke off: {_error_message(error)}")
    for choice in _objects(chunk.get("choices")):
        content = _object(choice.get("delta")).get("content")
        reason = choice.get("finish_reason")
        yield Piece(
            content if isinstance(content, str) else "", reason if isinstance(reason, str) else ""
        )


def _error_message(error: object) -> str:
    return str(_object(error).get("message", error))


def _refusal(response: httpx.Response) -> ChatError:
    error: object = None
    try:
        error = _parse(response.content).get("error")
        detail = _error_message(error)
    except ChatError:
        detail = response.text[:200]
    full = _object(error).get("code") == "context_length_exceeded"
    kind = ContextFullError if full else ChatError
    return kind(f"the server refuses with status {response.status_code}: {detail}")
