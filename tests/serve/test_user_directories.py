from pathlib import Path

import pytest

from serve.user_directories import user_directory


def states() -> Path | None:
    return user_directory("XDG_STATE_HOME", "~/.local/state")


def test_the_named_base_or_the_default_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_STATE_HOME", "/states")
    assert states() == Path("/states/parlance")
    for without in ("", "states"):
        monkeypatch.setenv("XDG_STATE_HOME", without)
        assert states() == Path("/home/someone/.local/state/parlance")


def test_a_user_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "someone")
    assert states() is None
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    assert states() is None
