"""Where a conversation is shown: on a terminal in its lines, anywhere else as it is."""

import shutil
from typing import TextIO

from serve.chat.wrapping import Wrapper

# What a model writes is text, not orders to the terminal.
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class Screen:
    """Shows text as it comes.

    Args:
        out: where to; a terminal gets words unbroken, and no control characters.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._wrapper = Wrapper(_columns) if out.isatty() else None

    def show(self, text: str) -> None:
        """Show more of a text."""
        if self._wrapper is not None:
            text = self._wrapper.feed(text.translate(_CONTROL))
        self._write(text)

    def end(self, note: str = "") -> None:
        """End the text, with a note, and the line."""
        self.show(note)
        held = "" if self._wrapper is None else self._wrapper.flush()
        self._write(held + "\n")

    def tell(self, text: str) -> None:
        """Show a text of our own."""
        self.show(text)
        self.end()

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _columns() -> int:
    return shutil.get_terminal_size().columns
