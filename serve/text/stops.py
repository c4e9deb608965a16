"""Stop strings, found in running text however it is cut into pieces.

Knows nothing of tokens. The result depends on the text alone, never on where the pieces end:
of all stop strings the one that is complete first ends the text; where two are complete at the
same character, the longer one is removed.
"""

from collections.abc import Sequence
from functools import lru_cache


class _Progress:
    """How much of one stop string the text's end matches (Knuth, Morris and Pratt)."""

    __slots__ = ("_fallback", "_stop", "matched")

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self._fallback = _fallback(stop)
        self.matched = 0

    def advance(self, character: str) -> bool:
        """Take one more character; whether it completes the stop string."""
        matched = self.matched
        while matched and self._stop[matched] != character:
            matched = self._fallback[matched - 1]
        self.matched = matched + (self._stop[matched] == character)
        return self.matched == len(self._stop)


# All choices of a request have the same stop strings.
@lru_cache(maxsize=64)
def _fallback(stop: str) -> tuple[int, ...]:
    """Entry i: how long a prefix the first i + 1 characters end with, other than themselves."""
    fallback = [0] * len(stop)
    length = 0
    for position in range(1, len(stop)):
        while length and stop[position] != stop[length]:
            length = fallback[length - 1]
        length += stop[position] == stop[length]
        fallback[position] = length
    return tuple(fallback)


class StopFinder:
    """Passes text on up to the first stop string.

    The longest end of the text that may still become a stop string is held back, so that no
    part of one is ever given out. Takes time linear in the text, whatever the stop strings.

    Args:
        stops: the stop strings.
        included: the stop string that ends the text is passed on with it.

    Attributes:
        found: whether a stop string has ended the text; what comes after is dropped.

    Raises:
        ValueError: a stop string is empty.
    """

    def __init__(self, stops: Sequence[str], *, included: bool = False) -> None:
        if not all(stops):
            raise ValueError(f"the stop strings {list(stops)!r} hold an empty one; leave it out")
        self.found = False
        self._stops = [_Progress(stop) for stop in stops]
        self._included = included
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that is now known to be passed on: what lies before any stop string."""
        if self.found or not self._stops:
            return "" if self.found else text
        for position, character in enumerate(text):
            longest = 0
            for stop in self._stops:
                if stop.advance(character):
                    longest = max(longest, stop.matched)
            if longest:
                self.found = True
                whole = self._held + text[: position + 1]
                self._held = ""
                return whole if self._included else whole[:-longest]
        buffered = self._held + text
        border = len(buffered) - max(stop.matched for stop in self._stops)
        self._held = buffered[border:]
        return buffered[:border]

    def flush(self) -> str:
        """The end of the text: what was held back is no stop string after all."""
        held, self._held = self._held, ""
        return held
