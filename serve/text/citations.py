"""Marks of sources in running text: `[2]`, `[1][3]`, `[1, 3]`.

Knows nothing of what the sources are. A mark is one wherever Markdown shows it as it stands: not in
code, nor where it is the text of a link (`[2](…)`), the name of one (`[2]: …`) or escaped. Whether
it is depends on what follows, and annotations come last: so text is passed on as it comes, and
looked through at its end.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_FENCE_END = re.compile(r" {0,3}(`+|~+)[ \t]*")
# A run of backticks, or the end of a paragraph, which no code goes beyond.
_RUN = re.compile(r"`+|\n[ \t]*(?=\n)")
_MARK = re.compile(r"(?<![\\!])\[[ \t]*(\d{1,3}(?:[ \t]*,[ \t]*\d{1,3})*)[ \t]*\](?!\()", re.ASCII)
_LINK_NAME = re.compile(r"^ {0,3}\[[^\]\n]*\]:.*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark that names a source. One with several numbers is a citation of each.

    Attributes:
        start: of the mark in the text, in code points.
        end: after the mark.
        number: of the source, from 1.
    """

    start: int
    end: int
    number: int


class CitationFinder:
    """Finds the marks of one text, however it is cut into pieces.

    Args:
        sources: how many there are; other numbers are no marks.
    """

    def __init__(self, sources: int) -> None:
        self._sources = sources
        self._pieces: list[str] = []

    def feed(self, text: str) -> str:
        """The text, which is passed on at once."""
        self._pieces.append(text)
        return text

    def flush(self) -> list[Citation]:
        """The end of the text: its citations, in order."""
        text = "".join(self._pieces)
        return [
            Citation(*mark.span(), number)
            for mark in _marks(text)
            for number in dict.fromkeys(map(int, mark[1].split(",")))
            if 1 <= number <= self._sources
        ]


def _marks(text: str) -> Iterator[re.Match[str]]:
    return _MARK.finditer(_LINK_NAME.sub(_blank, _without_spans(_without_blocks(text))))


def _without_blocks(text: str) -> str:
    """With blanks for blocks of code, so that all else stays in its place."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        opening = _FENCE.match(line)
        if not fence and opening is None:
            lines.append(line)
            continue
        lines.append(" " * len(line))
        if not fence and opening is not None:
            fence = opening[1]
        elif (end := _FENCE_END.fullmatch(line)) and end[1].startswith(fence):
            fence = ""
    return "\n".join(lines)


def _without_spans(text: str) -> str:
    """With blanks for code amid a paragraph: from a run of backticks to the next as long."""
    runs = list(_RUN.finditer(text))
    partners: dict[int, re.Match[str]] = {}
    later: dict[int, re.Match[str]] = {}
    for run in reversed(runs):
        if run[0][0] == "\n":
            later.clear()
            continue
        length = len(run[0])
        if length in later:
            partners[run.start()] = later[length]
        later[length] = run
    shown: list[str] = []
    at = 0
    for run in runs:
        if run.start() >= at and run.start() in partners:
            end = partners[run.start()].end()
            shown += [text[at : run.start()], " " * (end - run.start())]
            at = end
    return "".join([*shown, text[at:]])


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])
