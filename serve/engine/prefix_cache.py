"""Finding full pages again by the tokens in and before them.

A page's name is a digest chained over its tokens and the name of the page before it, so
equal names mean equal prefixes from the first token on, of the same adapter, among those who share
prompts. Knows names and page numbers; who holds a page is `pages.py`'s knowledge.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b

ROOT = b""


def root_of(adapter: int | None, scope: bytes = ROOT) -> bytes:
    """What stands for the name of the page before a row's first one.

    Args:
        adapter: of the row.
        scope: a secret digest of whoever shares pages with nobody else; empty for all others.
    """
    # No token is negative, so that no page has this name.
    return scope if adapter is None else page_name(scope, [-1 - adapter])


def page_name(parent: bytes, tokens: Sequence[int]) -> bytes:
    """The name of the page with `tokens`, after the page named `parent`."""
    return blake2b(parent + array("q", tokens).tobytes(), digest_size=16).digest()


def page_names(tokens: Sequence[int], page_size: int, root: bytes = ROOT) -> list[bytes]:
    """Names of all full pages of a sequence after `root`, in order."""
    names: list[bytes] = []
    name = root
    for end in range(page_size, len(tokens) + 1, page_size):
        name = page_name(name, tokens[end - page_size : end])
        names.append(name)
    return names


class PrefixCache:
    """Page name ↔ page number."""

    def __init__(self) -> None:
        self._pages: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def add(self, name: bytes, page: int) -> None:
        """Remember that `page` holds what `name` says, unless another page does already."""
        if name not in self._pages and page not in self._names:
            self._pages[name] = page
            self._names[page] = name

    def find(self, names: Sequence[bytes]) -> list[int]:
        """The pages of the longest known prefix."""
        pages: list[int] = []
        for name in names:
            page = self._pages.get(name)
            if page is None:
                break
            pages.append(page)
        return pages

    def knows(self, page: int) -> bool:
        """Whether the page can be found."""
        return page in self._names

    def forget(self, page: int) -> bytes:
        """The page's content is going away; gives back its name."""
        name = self._names.pop(page)
        del self._pages[name]
        return name
