import json
from pathlib import Path

import pytest

from serve.api.wire.request import ChatRequest
from serve.chat.client import ChatError
from serve.chat.conversation import Conversation, save


def conversation() -> Conversation:
    made = Conversation("Be brief.")
    made.add("Was heißt 日本?", "Japan.")
    made.add("Thanks", "")
    return made


def test_json_is_the_messages_of_a_request(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    save(conversation().messages(), path)
    assert "heißt 日本" in path.read_text(encoding="utf-8")
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved == conversation().messages()
    request = ChatRequest.model_validate({"model": "any", "messages": saved})
    assert [message.role for message in request.messages] == [
        *("system", "user", "assistant", "user", "assistant")
    ]


def test_markdown_is_for_people(tmp_path: Path) -> None:
    path = tmp_path / "talk.md"
    made = conversation()
    made.set_system("")
    save(made.messages()[:2], path)
    assert path.read_text(encoding="utf-8") == (
        "## User\n\nWas heißt 日本?\n\n## Assistant\n\nJapan.\n"
    )


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "talk.md"
    path.write_text("mine")
    with pytest.raises(ChatError, match=r"talk\.md is there already, and stays as it is"):
        save(conversation().messages(), path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["talk", "talk.txt", "talk.json.gz"])
def test_a_format_that_there_is_not(tmp_path: Path, name: str) -> None:
    with pytest.raises(ChatError, match=r"ends in neither \.json nor \.md"):
        save(conversation().messages(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ChatError, match=r"cannot be written: .*No such file or directory"):
        save(conversation().messages(), tmp_path / "none" / "talk.md")
    with pytest.raises(ChatError, match=r"cannot be written: .*surrogates"):
        save([{"role": "user", "content": "\udcff"}], tmp_path / "talk.md")
    assert not list(tmp_path.iterdir())


def test_a_reset_keeps_the_system_message() -> None:
    made = conversation()
    assert made.begun
    made.reset()
    assert not made.begun
    assert made.messages() == [{"role": "system", "content": "Be brief."}]
