"""Text for a terminal, its lines broken between words. Knows nothing of who writes it.

Where words are, and how wide, is Unicode's affair: a language without blanks may be broken
between any two of its wide characters, but not before what closes or after what opens
(a small part of UAX #14, which needs no dictionary).
"""

import re
import unicodedata
from collections.abc import Callable

from wcwidth import iter_graphemes, wcswidth

_TAB = 8
_PARTS = re.compile(r"[ \t]+|[^ \t]+")
# CommonMark 0.31, 4.5; deeper indented ones too, which stand in lists.
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)")
# Unicode's categories; Lm has the marks that lengthen or repeat a character.
_STAYS_WITH_PREVIOUS = {"Lm", "Pe", "Pf", "Po"}
_STAYS_WITH_NEXT = {"Pi", "Ps"}


class Wrapper:
    """Breaks lines that are wider than the terminal, as their text comes.

    Newlines stay where they are, and so does all that stands between code fences. No more is held
    back than the word at the end, or of one that is wider than a line its last character.

    Args:
        width: tells how many columns a line has, anew for each word: terminals are resized.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        self._width = width
        self._fence = ""
        self._begin_line()

    def _begin_line(self) -> None:
        self._line = ""  # as it came
        self._column = 0  # of what is shown
        self._blanks = ""  # these two are not shown yet
        self._word = ""
        self._too_wide = False

    def feed(self, text: str) -> str:
        """What can be shown once `text` has come."""
        first, *others = text.split("\n")
        return self._go_on(first) + "".join(self._end_line() + self._go_on(each) for each in others)

    def flush(self) -> str:
        """The end of the text: what was held back."""
        shown = self._end_word()
        self._fence = ""
        self._begin_line()
        return shown

    def _go_on(self, text: str) -> str:
        self._line += text
        if self._fence or _FENCE.match(self._line):
            held = self._blanks + self._word
            self._blanks = self._word = ""
            return held + text
        shown = ""
        for part in _PARTS.findall(text):
            if part[0] in " \t":
                shown += self._end_word()
                self._blanks += part
            else:
                self._word += part
                shown += self._show_all_but_the_end()
        return shown

    def _end_line(self) -> str:
        shown = self._end_word()
        if fence := _FENCE.match(self._line):
            marks, rest = fence.groups()
            if not self._fence and (marks[0] == "~" or "`" not in rest):
                self._fence = marks
            elif self._fence and marks.startswith(self._fence) and not rest.strip():
                self._fence = ""
        self._begin_line()
        return shown + "\n"

    def _show_all_but_the_end(self) -> str:
        *done, last = _indivisible(self._word)
        shown = ""
        for self._word in done:
            shown += self._end_word()
        *some, end = iter_graphemes(last)
        columns = _columns(last)
        if some and (self._too_wide or columns > self._width()):
            shown += self._place("".join(some), columns)
            last = end
            self._too_wide = True
        self._word = last
        return shown

    def _end_word(self) -> str:
        shown = self._place(self._word, _columns(self._word))
        self._word = ""
        self._too_wide = False
        return shown

    def _place(self, text: str, columns: int) -> str:
        """What shows `text`, a word of so many columns or a part of it."""
        if not text:
            return ""
        room = max(1, self._width())
        begin = _columns(self._blanks, self._column)
        if self._column and not self._too_wide and begin + columns > room:
            before, begin = "\n", 0
        else:
            before = self._blanks
        self._blanks = ""
        # What is wider than a line the terminal breaks.
        self._column = (begin + _columns(text) - 1) % room + 1
        return before + text


def _indivisible(word: str) -> list[str]:
    """The parts of a word that lines may be broken between; the last may still grow."""
    parts: list[str] = []
    before = ""
    for grapheme in iter_graphemes(word):
        if before and not _may_part(before, grapheme):
            parts[-1] += grapheme
        else:
            parts.append(grapheme)
        before = grapheme
    return parts


def _may_part(before: str, after: str) -> bool:
    return (
        (_columns(before) > 1 or _columns(after) > 1)
        and unicodedata.category(before[0]) not in _STAYS_WITH_NEXT
        and unicodedata.category(after[0]) not in _STAYS_WITH_PREVIOUS
    )


def _columns(text: str, begin: int = 0) -> int:
    """The column that `text` ends at, when it begins at another."""
    column = begin
    for grapheme in iter_graphemes(text):
        column += _TAB - column % _TAB if grapheme == "\t" else max(0, wcswidth(grapheme))
    return column
