"""`parlance chat`: from what was typed in the shell to one answer, or to a conversation."""

import os
import ssl
import sys
from dataclasses import dataclass, field, replace

import httpx

from serve.chat.client import AnswerSettings, ChatClient, ChatError
from serve.chat.conversation import Conversation
from serve.chat.screen import Screen
from serve.chat.session import Session
from serve.chat.typed_lines import line_reader
from serve.config import ConfigError

# A server sends keep-alive comments every few seconds: silence this long means it is gone.
_TIMEOUT = httpx.Timeout(10.0, read=120.0)


@dataclass(frozen=True, slots=True)
class ChatServer:
    """Which server is asked.

    Attributes:
        url: base address of the API, with its `/v1`.
        api_key: sent as a bearer token; empty for none.
        cafile: certificates to trust, PEM; empty for those that everybody trusts.
        insecure: whether the server's certificate goes unchecked.
    """

    url: str
    api_key: str = field(default="", repr=False)
    cafile: str = ""
    insecure: bool = False


def run_chat(server: ChatServer, settings: AnswerSettings, system: str, message: str) -> int:
    """Answer `message`, or hold a conversation when it is empty and a person is typing.

    Args:
        server: who is asked.
        settings: how; no model is the first that the server lists.
        system: system message to begin with; empty for none.
        message: the only question; empty where standard input has it, or a person.

    Returns:
        the exit code: 0, 1 after a failure, 130 when a single answer was stopped.

    Raises:
        ConfigError: the certificates to trust cannot be read.
    """
    with _connecting(server) as http:
        client = ChatClient(server.url, server.api_key, http)
        try:
            if not settings.model:
                settings = replace(settings, model=_first_model(client))
            conversation, screen = Conversation(system), Screen(sys.stdout)
            if message or not sys.stdin.isatty():
                question = message or sys.stdin.read().strip()
                _answer_once(client, conversation, question, settings, screen)
            else:
                screen.tell(
                    f"Talking to {settings.model} at {client.url}. /help lists the commands."
                )
                Session(client, settings, conversation, screen).run(line_reader())
        except ChatError as error:
            _complain(str(error))
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


def _connecting(server: ChatServer) -> httpx.Client:
    # The file that httpx trusts, where it is told of none.
    trusted = server.cafile or os.environ.get("SSL_CERT_FILE", "")
    try:
        verify = (
            ssl.create_default_context(cafile=trusted) if server.cafile else not server.insecure
        )
        return httpx.Client(timeout=_TIMEOUT, verify=verify)
    except OSError as error:
        raise ConfigError(f"the certificates of {trusted} cannot be read: {error}") from error


def _first_model(client: ChatClient) -> str:
    listed = client.models()
    if not listed:
        raise ChatError(f"{client.url}/models lists no model; name one with --model")
    return listed[0]


def _answer_once(
    client: ChatClient,
    conversation: Conversation,
    question: str,
    settings: AnswerSettings,
    screen: Screen,
) -> None:
    if not question:
        raise ChatError("there is no message: give one as an argument or on standard input")
    cut = False
    for piece in client.answer(conversation.asking(question), settings):
        screen.show(piece.text)
        cut = cut or piece.finish_reason == "length"
    screen.end()
    if cut:
        _complain("the answer is cut: it has as many tokens as --max-tokens or the context allows")


def _complain(sentence: str) -> None:
    print(f"parlance: {sentence}", file=sys.stderr)
