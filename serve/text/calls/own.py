"""Control tokens that a format itself writes into a conversation, whose words never are any.

Text is text: a spelling in a message does not become the token. What a format writes between the
messages' words is told from them by a character for each marker, which occurs nowhere in the
conversation and which the renderer turns back into the spelling. Knows no format.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import cast

# First the noncharacters, which no text should hold, then the private-use area.
_MARKERS = (*map(chr, range(0xFDD0, 0xFDF0)), *map(chr, range(0xE000, 0xF900)))


class OwnMarkers:
    """A format's markers in one conversation.

    Args:
        spellings: of the markers.
        conversation: messages, and whatever else a request's words stand in.

    Attributes:
        spellings: character → the marker that it stands for. Where a conversation leaves too few
            characters, markers are missing and stay text.
    """

    def __init__(
        self, spellings: Collection[str], conversation: Sequence[Mapping[str, object]]
    ) -> None:
        characters = islice(unused_characters(conversation), len(spellings))
        longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self.spellings = dict(zip(characters, longest_first, strict=False))

    def write(self, words: str) -> str:
        """Words of the format's own, with its markers."""
        for character, spelling in self.spellings.items():
            words = words.replace(spelling, character)
        return words


def unused_characters(messages: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Characters of no meaning that a conversation does not have."""
    used = {character for text in _strings(messages) for character in set(text)}
    return (character for character in _MARKERS if character not in used)


def _strings(value: object) -> Iterator[str]:
    """Every string in `value`, keys too, however deep it is nested."""
    rest = [value]
    while rest:
        inner = rest.pop()
        if isinstance(inner, str):
            yield inner
        elif isinstance(inner, Mapping):
            fields = cast("Mapping[str, object]", inner)
            rest += [*fields, *fields.values()]
        elif isinstance(inner, list | tuple):
            rest += cast("Sequence[object]", inner)
