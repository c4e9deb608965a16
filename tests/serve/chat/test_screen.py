import io

import pytest

from serve.chat.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _ten_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")


def shown(out: io.StringIO, *pieces: str, note: str = "") -> str:
    screen = Screen(out)
    for piece in pieces:
        screen.show(piece)
    screen.end(note)
    return out.getvalue()


def test_a_terminal_gets_whole_words() -> None:
    assert shown(Terminal(), "one two thr", "ee\nfour") == "one two\nthree\nfour\n"
    assert shown(Terminal(), "one", note=" [stopped]") == "one\n[stopped]\n"


def test_anything_else_gets_the_text_as_it_is() -> None:
    text = "one two three\n\x1b[2Jfour\r\x00\t five  \n"
    assert shown(io.StringIO(), *text) == text + "\n"


def test_control_characters_of_an_answer_do_not_reach_a_terminal() -> None:
    assert shown(Terminal(), "a\x1b[2Jb\x07\r\x9b", "ü\tc\n") == "a[2Jbü\tc\n\n"


def test_each_text_begins_a_line() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.tell("one two")
    screen.tell("three")
    assert out.getvalue() == "one two\nthree\n"
