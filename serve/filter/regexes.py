"""Finds regular expressions in running text, in time linear in it: RE2, of google-re2."""

from collections.abc import Sequence
from typing import Any

from serve.filter.errors import FilterError
from serve.filter.spelled import NO_WORD, Spelled, spelled
from serve.grammar.patterns.tree import PatternError

try:
    import re2
except ImportError as error:
    raise FilterError(
        "content_filter has regexes, which need the extra filter: in the checkout run "
        "pip install '.[filter]'"
    ) from error

# Of an automaton that RE2 makes as it goes; with less it would make it anew again and again.
_MOST_BYTES = 64 * 2**20


class RegexError(ValueError):
    """A pattern that cannot be looked for; the message says why, and what is allowed."""


def check_regex(pattern: str) -> None:
    """Raises RegexError for a pattern that cannot be looked for."""
    try:
        one = spelled(pattern)
    except PatternError as error:
        raise RegexError(str(error)) from error
    try:
        for text in (one.whole, one.beginnings):
            _compiled(text)
    except re2.error as error:
        raise RegexError(f"{_reason(error)}") from error


class RegexSearch:
    """Patterns that are looked for together. Case is no difference.

    Args:
        patterns: each with the rank of its category, in their order; `check_regex` takes them.

    Raises:
        RegexError: together they are too large.
    """

    def __init__(self, patterns: Sequence[tuple[str, int]]) -> None:
        self._ranks = [rank for _, rank in patterns]
        each = [spelled(pattern) for pattern, _ in patterns]
        try:
            self._running = _compiled("|".join(_match(one, ended=False) for one in each))
            self._ended = _compiled("|".join(_match(one, ended=True) for one in each))
            self._open = _compiled(rf"(?:{'|'.join(map(_beginning, each))})\z")
        except re2.error as error:
            raise RegexError(f"together they are too much: {_reason(error)}") from error

    def first(self, before: str, text: str, *, ended: bool) -> tuple[int, int] | None:
        """As `WordSearch.first`."""
        pattern = self._ended if ended else self._running
        found = pattern.search((before or "\n") + text)
        return None if found is None else (found.start(), self._ranks[found.lastindex - 1])

    def open(self, before: str, text: str) -> int:
        """As `WordSearch.open`."""
        found = self._open.search((before or "\n") + text)
        return len(text) if found is None else found.start()


# Each alternative takes one character before its match. So the leftmost of all is found, whether
# or not a border stands before it, and it begins in the text where the whole does here.
def _match(one: Spelled, *, ended: bool) -> str:
    after = f"(?:{NO_WORD}|\\z)" if ended else NO_WORD
    return f"{_preceding(one)}({one.whole}){after if one.before_border else ''}"


def _beginning(one: Spelled) -> str:
    return _preceding(one) + one.beginnings


def _preceding(one: Spelled) -> str:
    return NO_WORD if one.after_border else "(?s:.)"


def _compiled(text: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = _MOST_BYTES
    options.log_errors = False
    return re2.compile(text, options)


def _reason(error: Exception) -> str:
    told = error.args[0] if error.args else ""
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)
