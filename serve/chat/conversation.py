"""The messages of a conversation, and the files that they are saved to."""

import json
from pathlib import Path

from serve.chat.client import ChatError, Message


class Conversation:
    """The messages so far."""

    def __init__(self, system: str = "") -> None:
        self._system = system
        self._turns: list[Message] = []

    @property
    def begun(self) -> bool:
        """Whether anything was answered since the beginning, or the last reset."""
        return bool(self._turns)

    def messages(self) -> list[Message]:
        """The system message, where there is one, and all turns."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        return [*system, *self._turns]

    def asking(self, question: str) -> list[Message]:
        """What to send to have `question` answered."""
        return [*self.messages(), {"role": "user", "content": question}]

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


def save(messages: list[Message], path: Path) -> None:
    """Write messages to a new file: `.json` as a request's `messages`, `.md` for people.

    Raises:
        ChatError: another ending, a file that is there already, or one that cannot be written.
    """
    if path.suffix == ".json":
        text = json.dumps(messages, ensure_ascii=False, indent=2) + "\n"
    elif path.suffix == ".md":
        text = "\n".join(
            f"## {message['role'].capitalize()}\n\n{message['content']}\n" for message in messages
        )
    else:
        raise ChatError(f"{path} ends in neither .json nor .md, by which the format is chosen")
    try:
        written = text.encode()
        with path.open("xb") as file:
            file.write(written)
    except FileExistsError as error:
        raise ChatError(f"{path} is there already, and stays as it is; name another") from error
    except (OSError, ValueError) as error:
        raise ChatError(f"{path} cannot be written: {error}") from error
