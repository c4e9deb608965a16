"""Control tokens that a format itself writes into a conversation, whose words never are any.

Text is text: a spelling in a message does not become the token. What a format writes between the
messages' words is told from them by a character for each marker, which occurs nowhere in the
conversation and which the renderer turns back into the spelling. Knows no format.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from serve.text.guard import unused_characters


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
        # One is left for whoever guards the conversation.
        characters = list(islice(unused_characters(conversation), len(spellings) + 1))[:-1]
        longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self.spellings = dict(zip(characters, longest_first, strict=False))

    def write(self, words: str) -> str:
        """Words of the format's own, with its markers."""
        for character, spelling in self.spellings.items():
            words = words.replace(spelling, character)
        return words
