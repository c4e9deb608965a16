"""Finding full pages again by the tokens in and before them.

A page's name is a digest chained over its tokens and the name of the page before it, so
equal names mean equal prefixes from the first token on, with equal images, of the same adapter,
among those who share prompts. Knows names and page numbers; who holds a page is `pages.py`'s
knowledge.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b

from serve.engine.prompt_images import PromptImage, images_within

ROOT = b""
_OF_IMAGES = b"images"


def root_of(adapter: int | None, scope: bytes = ROOT) -> bytes:
    """What stands for the name of the page before a row's first one.

    Args:
        adapter: of the row.
        scope: a secret digest of whoever shares pages with nobody else; empty for all others.
    """
    # No token is negative, so that no page has this name.
    return scope if adapter is None else page_name(scope, [-1 - adapter])


def page_name(
    parent: bytes, tokens: Sequence[int], images: Sequence[tuple[int, bytes]] = ()
) -> bytes:
    """The name of the page with `tokens`, after the page named `parent`.

    Args:
        parent: name of the page before.
        tokens: of the page.
        images: that have tokens in the page: where each begins, counted from the page's first
            token, and its digest.
    """
    held = parent + array("q", tokens).tobytes()
    if not images:
        return blake2b(held, digest_size=16).digest()
    # What a page of text is named by is never what one with images is.
    name = blake2b(held, digest_size=16, person=_OF_IMAGES)
    for start, digest in images:
        name.update(array("q", [start, len(digest)]).tobytes() + digest)
    return name.digest()


def page_images(images: Sequence[PromptImage], start: int, end: int) -> list[tuple[int, bytes]]:
    """The images of a page that has the tokens from `start` to `end`, as `page_name` takes them."""
    return [(each.start - start, each.digest) for each in images_within(images, start, end)]


def page_names(
    tokens: Sequence[int],
    page_size: int,
    root: bytes = ROOT,
    images: Sequence[PromptImage] = (),
) -> list[bytes]:
    """Names of all full pages of a sequence after `root`, in order."""
    names: list[bytes] = []
    name = root
    for end in range(page_size, len(tokens) + 1, page_size):
        start = end - page_size
        name = page_name(name, tokens[start:end], page_images(images, start, end))
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
