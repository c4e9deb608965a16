"""Cuts a text that is being written into sentences to be spoken.

A sentence ends with its line; or with `.`, `!`, `?` or `…` before a space, where that ends no
abbreviation, initial or number of a list; or with the full stops of Chinese and Japanese. One of
more than 300 characters is cut before, after a comma if there is one, else between words. A cut
depends on nothing but what stands before it, so it does not matter in which pieces a text comes.
"""

import re

from serve.voice.markup import words_of

LONGEST = 300
# A long one is cut at a comma only when that leaves so much.
_SHORTEST_CUT = 100

_STOPS = frozenset(".!?…")
_WIDE_STOPS, _WIDE_CLOSING = frozenset("。！？"), "」』）”’"
_AFTER_WIDE_STOPS = _WIDE_STOPS | frozenset(_WIDE_CLOSING)
_CLOSING = "\"'”’»)]*_"
_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|st|vs|cf|fig|approx|vol|e\\.g|i\\.e|ca|nr|bzw|z\\.b|d\\.h|p\\.ex|sr|sra|mme"
)
_GOES_ON = re.compile(
    rf"""(?: (?:^|[\W_]) (?:{_ABBREVIATIONS})   # Dr. Who
           | (?:^|[\s.(]) [^\W\d_]              # J. R. R.
           | ^ [\s>]* \d{{1,3}}                 # 1. of a list
         ) \. $""",
    re.IGNORECASE | re.VERBOSE,
)
_COMMA = re.compile(r"[,;:—–)]\s|[，、；：]")


class Sentences:
    """One text, from its first piece to its end."""

    def __init__(self) -> None:
        self._text = ""
        self._begins_line = True

    def feed(self, text: str) -> list[str]:
        """The sentences that end in the text's next piece, none of them empty."""
        return [sentence for character in text for sentence in self._taken(character)]

    def flush(self) -> list[str]:
        """What is left at the text's end."""
        return self._cut(len(self._text), ends_line=True)

    def _taken(self, character: str) -> list[str]:
        if character in "\n\r\v\f\x85\u2028\u2029":
            return self.flush()
        before, self._text = self._text, self._text + character
        if character.isspace() and _ends(before):
            return self._cut(len(self._text))
        if before.rstrip(_WIDE_CLOSING)[-1:] in _WIDE_STOPS and character not in _AFTER_WIDE_STOPS:
            return self._cut(len(before))
        if len(self._text) > LONGEST:
            return self._cut(_where_to_cut(self._text))
        return []

    def _cut(self, end: int, *, ends_line: bool = False) -> list[str]:
        sentence = words_of(self._text[:end], begins_line=self._begins_line)
        self._text = self._text[end:]
        self._begins_line = ends_line
        return [sentence] if sentence else []


def _ends(text: str) -> bool:
    bare = text.rstrip(_CLOSING)
    return bare[-1:] in _STOPS and not _GOES_ON.search(bare)


def _where_to_cut(text: str) -> int:
    commas = [match.end() for match in _COMMA.finditer(text)]
    if commas and commas[-1] >= _SHORTEST_CUT:
        return commas[-1]
    space = max((match.end() for match in re.finditer(r"\s", text)), default=0)
    return space or len(text)
