"""What a filter finds in texts, and in answers as they come. Knows nothing of requests."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from serve.filter.errors import FilterError
from serve.filter.rules import Category, Side, read_rules
from serve.text.verdict import Verdict


def read_filter(path: Path) -> "ContentFilter":
    """The filter of a file.

    Raises:
        FilterError: it cannot be used.
    """
    content_filter = ContentFilter(read_rules(path))
    try:
        content_filter.prepare()
    except FilterError as error:
        raise FilterError(f"content_filter {path}, {error}") from error
    return content_filter


class ContentFilter:
    """Categories to keep out. Pickled as these; what searches for them is made where it is used.

    Args:
        categories: in the file's order.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self._categories = tuple(categories)

    def __reduce__(self) -> tuple[object, ...]:
        return ContentFilter, (self._categories,)

    def prepare(self) -> None:
        """Make what searches.

        Raises:
            FilterError: a pattern cannot be looked for, or an extra is missing.
        """
        for category in self._categories:
            _check(category)
        _ = self._input, self._output

    def found_in(self, text: str) -> Category | None:
        """The category of the first match in a text of a request."""
        found = self._input.first("", text, ended=True)
        return None if found is None else self._categories[found[1]]

    def judge(self) -> "FilterJudge | None":
        """What keeps matches out of one answer; None where answers may say anything."""
        if not any("output" in each.sides for each in self._categories):
            return None
        return FilterJudge(self._output, self._categories)

    @cached_property
    def _input(self) -> "_Search":
        return _Search(self._categories, "input")

    @cached_property
    def _output(self) -> "_Search":
        return _Search(self._categories, "output")


def _check(category: Category) -> None:
    if not category.regexes:
        return
    from serve.filter.regexes import RegexError, check_regex

    for number, pattern in enumerate(category.regexes, 1):
        try:
            check_regex(pattern)
        except RegexError as error:
            raise FilterError(
                f"{category.place('regexes')}: number {number} of the regexes in "
                f"[{category.name}] cannot be looked for: {error}"
            ) from error


class _Search:
    """All that is looked for on one side."""

    def __init__(self, categories: Sequence[Category], side: Side) -> None:
        ranked = [(rank, each) for rank, each in enumerate(categories) if side in each.sides]
        words = [(word, rank) for rank, each in ranked for word in each.words]
        regexes = [(regex, rank) for rank, each in ranked for regex in each.regexes]
        self._parts = []
        # The extra's packages are imported where something is for them.
        if words:
            from serve.filter.words import WordSearch

            self._parts.append(WordSearch(words))
        if regexes:
            from serve.filter.regexes import RegexError, RegexSearch

            try:
                self._parts.append(RegexSearch(regexes))
            except RegexError as error:
                raise FilterError(f"the regexes cannot be looked for: {error}") from error

    def first(self, before: str, text: str, *, ended: bool) -> tuple[int, int] | None:
        """Where the first certain match begins, and the rank of its category."""
        found = [part.first(before, text, ended=ended) for part in self._parts]
        return min(filter(None, found), default=None)

    def open(self, before: str, text: str) -> int:
        """Where the first match begins that the text's end may become."""
        return min((part.open(before, text) for part in self._parts), default=len(text))


class FilterJudge:
    """Passes text on up to the first match; see `serve.text.verdict.Judge`.

    What may still become a match is held back, and what follows it: of two matches the one that
    begins first ends the text.

    Attributes:
        verdict: what has ended the text, if anything.
    """

    def __init__(self, search: _Search, categories: Sequence[Category]) -> None:
        self.verdict: Verdict | None = None
        self._search = search
        self._categories = categories
        self._before = self._held = ""

    @property
    def holds(self) -> bool:
        """Whether text is held back."""
        return bool(self._held)

    def feed(self, text: str) -> str:
        """The text that is now known to have no part in a match."""
        return self._passed(self._held + text, ended=False) if text else ""

    def pause(self) -> str:
        """As `flush` where that finds a match, else nothing."""
        if self._search.first(self._before, self._held, ended=True) is None:
            return ""
        return self.flush()

    def flush(self) -> str:
        """The end of the text: the rest of it, up to a match."""
        return self._passed(self._held, ended=True) if self._held else ""

    def _passed(self, text: str, *, ended: bool) -> str:
        if self.verdict is not None:
            return ""
        found = self._search.first(self._before, text, ended=ended)
        border = len(text) if ended else self._search.open(self._before, text)
        if found is not None and found[0] <= border:
            border, category = found[0], self._categories[found[1]]
            self.verdict = Verdict(category.name, category.blocks)
        passed, self._held = text[:border], text[border:]
        self._before = passed[-1:] or self._before
        return passed
