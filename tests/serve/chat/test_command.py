"""The whole client, in a terminal and out of it, against a server that says what it is told."""

import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from support.certificates import self_signed
from support.chat_server import ChatServer, chat_server

pytest.importorskip("termios", reason="there are no terminals of this kind")

from support.terminals import Terminal, in_terminal

CHAT = [sys.executable, "-m", "serve", "chat"]


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would be somebody else's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PARLANCE_", "SSL_CERT_", "XDG_"))
        and not name.lower().endswith("_proxy")
        and name not in ("COLUMNS", "LINES", "INPUTRC", "PYTHONUNBUFFERED")
    }
    return kept | more


def ask(*arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The client outside of a terminal."""
    return subprocess.run(
        [*CHAT, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(**variables),
    )


@contextmanager
def talking(server: ChatServer, home: Path, columns: int = 80) -> Iterator[Terminal]:
    """The client in a terminal, when it waits for the first line."""
    command = [*CHAT, "--url", server.url]
    with in_terminal(command, environment(HOME=str(home)), columns) as terminal:
        terminal.wait_for("\n> ")
        yield terminal


def test_words_come_whole_and_before_the_answer_is_over(tmp_path: Path) -> None:
    gates = [Event(), Event()]
    answer = ["one two thr", gates[0], "ee four ", gates[1], "five six seven eight"]
    with chat_server(answer) as server, talking(server, tmp_path, columns=20) as terminal:
        terminal.type("Count\n")
        terminal.wait_for("one two")
        assert "thr" not in terminal.text
        gates[0].set()
        terminal.wait_for("one two three four")
        terminal.resize(10)
        gates[1].set()
        terminal.wait_for("one two three four\nfive six\nseven\neight\n\n> ")
        terminal.type("/quit\n")
        assert terminal.wait_for_end() == 0


def test_what_was_typed_is_at_hand_the_next_time(tmp_path: Path) -> None:
    with chat_server(["a"], ["b"], ["c"]) as server:
        with talking(server, tmp_path) as terminal:
            terminal.type("first\n")
            terminal.wait_for("a\n\n> ")
            # Kept at once: this conversation has no end.
        path = tmp_path / ".local" / "state" / "parlance" / "chat_history"
        assert path.read_text() == "first\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o644)
        with talking(server, tmp_path) as terminal:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            terminal.type("\x10\n")  # Ctrl-P: the line before
            terminal.wait_for("b\n\n> ")
            terminal.type("other\n")
            terminal.wait_for("c\n\n> ")
            terminal.type("\x04")
            assert terminal.wait_for_end() == 0
        assert server.questions == ["first", "first", "other"]
        # readline does not repeat what is repeated.
        assert path.read_text() == "first\nother\n"


def test_the_oldest_lines_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / ".local" / "state" / "parlance" / "chat_history"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"line {number}\n" for number in range(1500)))
    path.chmod(0o644)
    with chat_server() as server, talking(server, tmp_path) as terminal:
        terminal.type("/quit\n")
        terminal.wait_for_end()
    lines = path.read_text().splitlines()
    assert (len(lines), lines[0], lines[-1]) == (1000, "line 501", "/quit")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_state_that_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file")
    with chat_server(["a"]) as server, talking(server, tmp_path) as terminal:
        assert "what you type is not kept for the next time: " in terminal.text
        terminal.type("first\n")
        terminal.wait_for("a\n\n> ")


def test_ctrl_c_stops_an_answer(tmp_path: Path) -> None:
    endless = Event()
    with chat_server(["half ", endless], ["b"]) as server, talking(server, tmp_path) as terminal:
        terminal.type("first\n")
        terminal.wait_for("half")
        terminal.type("\x03")
        terminal.wait_for("[stopped]\n\n> ")
        endless.set()
        terminal.type("second\n")
        terminal.wait_for("b\n\n> ")
        assert [message["content"] for message in server.bodies[1]["messages"]] == [
            *("first", "half ", "second")
        ]


def test_outside_of_a_terminal_an_answer_is_printed_as_it_is(tmp_path: Path) -> None:
    answer = "a line of many words " * 20 + "\n\x1b[1m\tend  "
    with chat_server([*answer]) as server:
        ended = ask("--url", server.url, "Hi", HOME=str(tmp_path), COLUMNS="20")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, answer + "\n", "")
    assert not list(tmp_path.iterdir())


def test_the_message_may_come_from_standard_input() -> None:
    with chat_server(["Hello"]) as server:
        ended = ask("--url", server.url, "--model", "two", "--temperature", "0", text="Hi\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Hello\n", "")
    assert server.bodies == [
        {
            "model": "two",
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "temperature": 0.0,
        }
    ]


def test_the_first_model_is_asked() -> None:
    with chat_server(["Hello"]) as server:
        assert ask("--url", server.url, "Hi").returncode == 0
    assert server.bodies[0]["model"] == "one"


def test_no_message_at_all() -> None:
    with chat_server() as server:
        ended = ask("--url", server.url)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "parlance: there is no message: give one as an argument or on standard input\n"
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for this address, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def tls_server(certificate: tuple[str, str]) -> Iterator[ChatServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with chat_server(["Hello"], tls=context) as server:
        yield server


def test_a_self_signed_certificate_is_named_with_the_remedy(tls_server: ChatServer) -> None:
    ended = ask("--url", tls_server.url, "Hi")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"parlance: the certificate of {tls_server.url} is self-signed, so that nobody vouches for "
        f"it; name it, or who signed it, with --cafile FILE or SSL_CERT_FILE, or connect unchecked "
        f"with --insecure\n"
    )


@pytest.mark.parametrize("way", ["--cafile", "--insecure", "SSL_CERT_FILE"])
def test_the_remedies_help(tls_server: ChatServer, certificate: tuple[str, str], way: str) -> None:
    flags = {"--cafile": ["--cafile", certificate[0]], "--insecure": ["--insecure"]}.get(way, [])
    variables = {} if flags else {way: certificate[0]}
    ended = ask("--url", tls_server.url, *flags, "Hi", **variables)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Hello\n", "")


def test_a_certificate_for_another_name(
    tls_server: ChatServer, certificate: tuple[str, str]
) -> None:
    url = tls_server.url.replace("127.0.0.1", "localhost")
    ended = ask("--url", url, "--cafile", certificate[0], "Hi")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"parlance: the certificate of {url} cannot be trusted (")
    assert ended.stderr.endswith(
        "'localhost'.); if you know the server all the same, connect unchecked with --insecure\n"
    )


@pytest.mark.parametrize("way", ["--cafile", "SSL_CERT_FILE"])
@pytest.mark.parametrize("there", [False, True])
def test_certificates_that_cannot_be_read(tmp_path: Path, way: str, there: bool) -> None:
    path = tmp_path / "ca.pem"
    if there:
        path.write_text("no certificate")
    flags, variables = ([way, str(path)], {}) if way == "--cafile" else ([], {way: str(path)})
    ended = ask("--url", "https://127.0.0.1:1/v1", *flags, "Hi", **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"parlance: the certificates of {path} cannot be read: ")
    assert ended.stderr.count("\n") == 1


def test_checked_and_unchecked_at_once() -> None:
    ended = ask("--cafile", "ca.pem", "--insecure", "Hi")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--cafile and --insecure contradict each other" in ended.stderr
