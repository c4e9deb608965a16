import io
import json
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from serve.chat.client import AnswerSettings, ChatClient, ChatError, ContextFullError, Piece
from serve.chat.conversation import Conversation
from serve.chat.screen import Screen
from serve.chat.session import Session

Scripted = str | Piece | BaseException
ONE = AnswerSettings("one")


class ScriptedClient(ChatClient):
    """Answers from a list; an exception in an answer is raised in its place."""

    def __init__(self, *answers: list[Scripted]) -> None:
        self.asked: list[list[dict[str, str]]] = []
        self.settings: list[AnswerSettings] = []
        self._answers = iter(answers)

    def models(self) -> list[str]:
        return ["one", "two"]

    def answer(
        self, messages: list[dict[str, str]], settings: AnswerSettings
    ) -> Generator[Piece, None, None]:
        self.asked.append(messages)
        self.settings.append(settings)
        for piece in next(self._answers):
            if isinstance(piece, BaseException):
                raise piece
            yield Piece(piece) if isinstance(piece, str) else piece


def talk(
    client: ChatClient,
    *lines: str | BaseException,
    system: str = "",
    settings: AnswerSettings = ONE,
) -> str:
    """What is shown while these lines are typed; their end is Ctrl-D."""
    typed: Iterator[str | BaseException] = iter([*lines, EOFError()])

    def read_line() -> str:
        line = next(typed)
        if isinstance(line, BaseException):
            raise line
        return line

    out = io.StringIO()
    Session(client, settings, Conversation(system), Screen(out)).run(read_line)
    return out.getvalue()


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_it_remembers() -> None:
    client = ScriptedClient(["Hel", "lo"], ["Bye"])
    shown = talk(client, "Hi", "", "Later", system="Be brief.")
    system = {"role": "system", "content": "Be brief."}
    assert client.asked == [
        [system, user("Hi")],
        [system, user("Hi"), assistant("Hello"), user("Later")],
    ]
    assert shown == "Hello\nBye\n\n"


def test_reset_and_system() -> None:
    client = ScriptedClient(["a"], ["b"], ["c"])
    talk(client, "1", "/reset", "/system Be kind.", "2", "/system", "3", "/quit", "4")
    assert client.asked == [
        [user("1")],
        [{"role": "system", "content": "Be kind."}, user("2")],
        [user("2"), assistant("b"), user("3")],
    ]


def test_a_command_that_there_is_not() -> None:
    shown = talk(ScriptedClient(), "/what", "/quit")
    assert shown.startswith("There is no command /what.\n/reset")


def test_help_lists_every_command() -> None:
    shown = talk(ScriptedClient(), "/help", "/quit")
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("/")]
    assert listed == ["/reset", "/system", "/temperature", "/model", "/save", "/help", "/quit"]
    for command in listed[:-1]:
        assert "There is no command" not in talk(ScriptedClient(), command, "/quit")


def test_temperature() -> None:
    client = ScriptedClient(*[["x"]] * 4)
    shown = talk(
        client,
        *("/temperature", "1", "/temperature 0", "2", "/temperature 1.5", "3"),
        *("/temperature", "/temperature default", "4"),
    )
    assert [settings.temperature for settings in client.settings] == [None, 0, 1.5, None]
    assert [line for line in shown.splitlines() if line.startswith("The")] == [
        "The temperature is the server's.",
        "The temperature is 0.",
        "The temperature is 1.5.",
        "The temperature is 1.5.",
        "The temperature is the server's.",
    ]


@pytest.mark.parametrize("text", ["hot", "-0.1", "2.1", "nan", "inf"])
def test_what_is_no_temperature(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    client = ScriptedClient(["x"])
    talk(client, f"/temperature {text}", "1", settings=AnswerSettings("one", temperature=0.5))
    assert client.settings[0].temperature == 0.5
    assert capsys.readouterr().err == (
        f"{text} is no temperature: give a number from 0 to 2, or default\n"
    )


def test_model() -> None:
    client = ScriptedClient(["x"], ["y"])
    shown = talk(client, "/model", "/model two", "1", "/model", "/model new", "2", "/model")
    assert [settings.model for settings in client.settings] == ["two", "new"]
    assert shown.splitlines() == [
        *("* one", "  two"),
        "The model is two.",
        "x",
        *("  one", "* two"),
        "The model is new, which the server does not list.",
        "y",
        *("  one", "  two", "* new"),
        "",
    ]


def test_save(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "talk.json"
    shown = talk(ScriptedClient(["Hello"]), "Hi", f"/save {path}", f"/save {path}", system="Brief.")
    assert f"3 messages are in {path}.\n" in shown
    assert json.loads(path.read_text())[1:] == [user("Hi"), assistant("Hello")]
    assert capsys.readouterr().err == (
        f"{path} is there already, and stays as it is; name another\n"
    )


def test_save_without_a_file_or_a_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    talk(ScriptedClient(["x"]), "/save talk.json", "1", "/save", "/save ~nobody-here/talk.md")
    assert capsys.readouterr().err == (
        "there is nothing to save yet\n"
        "/save needs the name of a file that ends in .json or .md\n"
        "~nobody-here/talk.md begins with the home directory of a user that is not there; write "
        "the whole path\n"
    )


def test_ctrl_c_stops_the_answer_and_not_the_program() -> None:
    client = ScriptedClient(["half", KeyboardInterrupt()], ["next"])
    shown = talk(client, "1", KeyboardInterrupt(), "2")
    assert client.asked[1] == [user("1"), assistant("half"), user("2")]
    assert "half [stopped]\n" in shown


def test_a_failed_answer_is_reported_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    client = ScriptedClient(["half", ChatError("the queue is full")], ["next"])
    shown = talk(client, "1", "2")
    assert client.asked[1] == [user("2")]
    assert capsys.readouterr().err == "the queue is full\n"
    assert shown == "half\nnext\n\n"


def test_a_conversation_that_outgrows_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    full = ContextFullError("It is too long.")
    client = ScriptedClient([full], ["x"], [full])
    talk(client, "1", "2", "3")
    assert capsys.readouterr().err.splitlines() == [
        "It is too long; ask for less at once",
        "It is too long; /reset forgets the conversation, which /save FILE keeps before",
    ]


@pytest.mark.parametrize(
    ("most", "note"),
    [
        (None, "[the context is full; /reset forgets the conversation]"),
        (7, "[cut after 7 tokens, or where the context is full]"),
    ],
)
def test_an_answer_that_is_cut(most: int | None, note: str) -> None:
    client = ScriptedClient(["half", Piece("", "length")], ["whole", Piece("", "stop")])
    settings = AnswerSettings("one", max_tokens=most)
    assert talk(client, "1", "2", settings=settings) == f"half {note}\nwhole\n\n"


def test_a_line_that_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    client = ScriptedClient(["x"])
    talk(client, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "1")
    assert client.asked == [[user("1")]]
    assert capsys.readouterr().err == "what was typed is not text in utf-8; type it again\n"
