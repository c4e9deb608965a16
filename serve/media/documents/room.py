"""How much text a file may still bring, counted while it is read."""

import re

from serve.media.documents import faults

# Of UTF-16's pairs: no characters, and nothing that can be encoded.
_HALVES = re.compile("[\ud800-\udfff]")


class Room:
    """Room for characters.

    Args:
        characters: that there is room for.
    """

    def __init__(self, characters: int) -> None:
        self._characters = characters
        self._left = characters

    def need(self, characters: int) -> None:
        """See whether there is room, before a text is made.

        Raises:
            MediaError: there is not.
        """
        if characters > self._left:
            raise faults.too_large(
                f"has more than {self._characters:,} characters. Send a part of it."
            )

    def take(self, text: str) -> str:
        """The text as models get it: lines end with a line feed, and all of it is Unicode.

        Raises:
            MediaError: there is no room for it.
        """
        self.need(len(text))
        self._left -= len(text)
        return _HALVES.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
