"""Finds words and phrases in running text: Aho and Corasick's automaton, of pyahocorasick."""

from collections.abc import Iterable

from serve.filter.characters import border, folded
from serve.filter.errors import FilterError

try:
    import ahocorasick
except ImportError as error:
    raise FilterError(
        "content_filter has words, which need the extra filter: in the checkout run "
        "pip install '.[filter]'"
    ) from error


class WordSearch:
    """Words that are looked for together. Case is no difference, and of white space one like it.

    Args:
        words: each with the rank of its category; of equal words the first one's counts.
    """

    def __init__(self, words: Iterable[tuple[str, int]]) -> None:
        self._automaton = ahocorasick.Automaton()
        self._longest = 0
        for word, rank in words:
            key = folded(word)
            self._longest = max(self._longest, len(key))
            if not self._automaton.exists(key):
                self._automaton.add_word(key, (len(key), rank))
        self._automaton.make_automaton()

    def first(self, before: str, text: str, *, ended: bool) -> tuple[int, int] | None:
        """Where the first word begins that is certainly one, and the rank of its category.

        Args:
            before: the character before the text, "" if there is none.
            text: to search.
            ended: whether nothing will follow.
        """
        found: tuple[int, int] | None = None
        for last, (length, rank) in self._automaton.iter(folded(text)):
            start, end = last + 1 - length, last + 1
            if found is not None and last - self._longest >= found[0]:
                # They come by their ends: all others begin later.
                break
            if found is not None and (start, rank) >= found:
                continue
            # What would be a letter after it could make it another word.
            after = text[end : end + 1] or ("" if ended else "x")
            preceding = text[start - 1] if start else before
            if border(preceding, text[start]) and border(text[last], after):
                found = start, rank
        return found

    def open(self, before: str, text: str) -> int:
        """Where the first word begins that the text's end may become; its length if there is none.

        A word that only a border is missing to is one of these.
        """
        key = folded(text)
        for start in range(max(0, len(text) - self._longest), len(text)):
            preceding = text[start - 1] if start else before
            if border(preceding, text[start]) and self._automaton.match(key[start:]):
                return start
        return len(text)
