"""A conversation as a person leads it: questions, commands, and what is done about failures."""

import contextlib
import math
import sys
from collections.abc import Callable
from dataclasses import replace

from serve.chat.client import AnswerSettings, ChatClient, ChatError, ContextFullError
from serve.chat.conversation import Conversation, save
from serve.chat.screen import Screen
from serve.config import ConfigError, expanded

_HELP = """/reset            forget the conversation
/system TEXT      set the system message; without TEXT, remove it
/temperature N    set the randomness, 0 to 2, or default; without N, tell it
/model NAME       ask this model; without NAME, list the server's
/save FILE        write the conversation to a new file, .json or .md
/help             show this list
/quit             end (so does Ctrl-D)
Ctrl-C stops an answer that is being written."""


class Session:
    """One conversation with a server.

    Args:
        client: asks the server.
        settings: what is asked for with each question; commands change it.
        conversation: the messages so far.
        screen: where answers and replies to commands are shown; failures go to standard error.
    """

    def __init__(
        self,
        client: ChatClient,
        settings: AnswerSettings,
        conversation: Conversation,
        screen: Screen,
    ) -> None:
        self._client = client
        self._settings = settings
        self._conversation = conversation
        self._screen = screen
        self._commands: dict[str, Callable[[str], str]] = {
            "/reset": self._reset,
            "/system": self._set_system,
            "/temperature": self._set_temperature,
            "/model": self._set_model,
            "/save": self._save,
            "/help": lambda _: _HELP,
        }

    def run(self, read_line: Callable[[], str]) -> None:
        """Read lines and answer them until `/quit` or the end of the input.

        A failed answer is reported and its question forgotten; a stopped one is remembered as far
        as it came.
        """
        while True:
            try:
                line = read_line().strip()
            except EOFError:
                self._screen.end()
                return
            except KeyboardInterrupt:
                self._screen.end()
                continue
            except UnicodeDecodeError as error:
                _complain(f"what was typed is not text in {error.encoding}; type it again")
                continue
            command, _, text = line.partition(" ")
            if command == "/quit":
                return
            if not line:
                continue
            try:
                if command.startswith("/"):
                    self._screen.tell(self._obey(command, text.strip()))
                else:
                    self._answer(line)
            except ChatError as error:
                _complain(str(error))
            except KeyboardInterrupt:
                self._screen.end()

    def _obey(self, command: str, text: str) -> str:
        if command not in self._commands:
            return f"There is no command {command}.\n{_HELP}"
        return self._commands[command](text)

    def _reset(self, _: str) -> str:
        self._conversation.reset()
        return "The conversation is forgotten."

    def _set_system(self, text: str) -> str:
        self._conversation.set_system(text)
        return "The system message is set." if text else "The system message is removed."

    def _set_temperature(self, text: str) -> str:
        if text:
            self._settings = replace(self._settings, temperature=_temperature(text))
        temperature = self._settings.temperature
        told = "the server's" if temperature is None else f"{temperature:g}"
        return f"The temperature is {told}."

    def _set_model(self, name: str) -> str:
        listed = self._client.models()
        if name:
            self._settings = replace(self._settings, model=name)
            unlisted = "" if name in listed else ", which the server does not list"
            return f"The model is {name}{unlisted}."
        asked = self._settings.model
        names = listed if asked in listed else [*listed, asked]
        return "\n".join(f"{'*' if each == asked else ' '} {each}" for each in names)

    def _save(self, name: str) -> str:
        if not self._conversation.begun:
            raise ChatError("there is nothing to save yet")
        if not name:
            raise ChatError("/save needs the name of a file that ends in .json or .md")
        try:
            path = expanded(name)
        except ConfigError as error:
            raise ChatError(str(error)) from error
        messages = self._conversation.messages()
        save(messages, path)
        return f"{len(messages)} messages are in {path}."

    def _answer(self, question: str) -> None:
        pieces: list[str] = []
        note = ""
        answer = self._client.answer(self._conversation.asking(question), self._settings)
        try:
            with contextlib.closing(answer):
                for piece in answer:
                    pieces.append(piece.text)
                    self._screen.show(piece.text)
                    if piece.finish_reason == "length":
                        note = f" [{self._why_cut()}]"
        except KeyboardInterrupt:
            note = " [stopped]"
        except ChatError as error:
            if pieces:
                self._screen.end()
            if isinstance(error, ContextFullError):
                refusal = str(error).removesuffix(".")
                raise ChatError(f"{refusal}; {self._how_to_make_room()}") from error
            raise
        self._screen.end(note)
        self._conversation.add(question, "".join(pieces))

    def _why_cut(self) -> str:
        if self._settings.max_tokens is None:
            return "the context is full; /reset forgets the conversation"
        return f"cut after {self._settings.max_tokens} tokens, or where the context is full"

    def _how_to_make_room(self) -> str:
        if self._conversation.begun:
            return "/reset forgets the conversation, which /save FILE keeps before"
        return "ask for less at once"


def _temperature(text: str) -> float | None:
    if text == "default":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 2:
        raise ChatError(f"{text} is no temperature: give a number from 0 to 2, or default")
    return value


def _complain(sentence: str) -> None:
    Screen(sys.stderr).tell(sentence)
