"""What an answer cites, as its message's annotations.

Indices are in code points of what the message says, the end after the last one: Python's slices.
"""

from collections.abc import Sequence

from serve.api.answering.json_text import compact
from serve.api.wire.web_search import CitedSource
from serve.text.citations import Citation, CitationFinder


class Cited:
    """The citations of one choice.

    Args:
        sources: that the prompt has numbered.
    """

    def __init__(self, sources: Sequence[CitedSource]) -> None:
        self._sources = sources
        self._finder = CitationFinder(len(sources))
        self._found: list[Citation] | None = None

    def feed(self, text: str) -> None:
        """More of what it says."""
        self._finder.feed(text)

    def annotations(self) -> list[str]:
        """One object in JSON for each citation. What it says has ended."""
        if self._found is None:
            self._found = self._finder.flush()
        return [self._annotation(each) for each in self._found]

    def _annotation(self, citation: Citation) -> str:
        source = self._sources[citation.number - 1]
        cited = {
            "start_index": citation.start,
            "end_index": citation.end,
            "title": source.title,
            "url": source.url,
        }
        return compact({"type": "url_citation", "url_citation": cited})
