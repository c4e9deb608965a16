"""Which cache pages are free, and how many hold each of the others.

Knows page numbers and reference counts, nothing of what is in a page. A page with no holder
is either free or, if the prefix cache knows its content, kept until its room is needed: which goes
first, `retention.py` says.
"""

from collections.abc import Callable, Iterable, Sequence

from serve.engine.retention import Group, Retention


class OutOfPagesError(Exception):
    """More pages were asked for than are available."""


class PagePool:
    """Reference-counted pages.

    Attributes:
        total: pages there are, numbered from 0.
    """

    def __init__(self, total: int, on_evict: Callable[[int, Group | None], None]) -> None:
        """Make a pool of `total` free pages.

        `on_evict` is told of kept pages taken away, and of the groups that they belonged to.
        """
        self.total = total
        self._on_evict = on_evict
        self._holders = [0] * total
        self._free = list(range(total - 1, -1, -1))
        # Pages whose content is worth keeping though nobody holds them.
        self._kept: Retention[int] = Retention(total)

    @property
    def free(self) -> int:
        """Pages that hold nothing."""
        return len(self._free)

    @property
    def kept(self) -> int:
        """Pages without a holder whose content is kept."""
        return len(self._kept)

    @property
    def available(self) -> int:
        """Pages that `take` can give."""
        return len(self._free) + len(self._kept)

    def available_without(self, pages: Iterable[int]) -> int:
        """Pages that `take` could give after `hold(pages)`."""
        return self.available - sum(page in self._kept for page in pages)

    def take(self, count: int) -> list[int]:
        """Hold `count` pages with no content, evicting kept ones if need be.

        Raises:
            OutOfPagesError: fewer are available; nothing has changed.
        """
        if count > self.available:
            raise OutOfPagesError(f"{count} pages wanted, {self.available} available")
        while len(self._free) < count:
            page, group = self._kept.give_up()
            self._on_evict(page, group)
            self._free.append(page)
        pages = [self._free.pop() for _ in range(count)]
        for page in pages:
            self._holders[page] = 1
        return pages

    def hold(self, pages: Iterable[int]) -> None:
        """Add a holder to pages that have one already or are kept."""
        for page in pages:
            self._kept.hold(page)
            self._holders[page] += 1

    def use(self, group: Group | None) -> None:
        """Somebody uses a group of pages."""
        self._kept.use(group)

    def release(
        self, pages: Sequence[int], keep: Callable[[int], bool], group: Group | None = None
    ) -> None:
        """Drop a holder of each page; `keep` says whether an unheld page's content is kept.

        Later pages become the first to be evicted: without its beginning a prefix is useless. Those
        that are kept belong to `group` from now on, if there is one.
        """
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page] == 0:
                if keep(page):
                    self._kept.keep(page, group)
                else:
                    self._free.append(page)

    def check(self, held: Iterable[Iterable[int]], is_known: Callable[[int], bool]) -> None:
        """Verify the bookkeeping against who is said to hold what.

        Raises:
            AssertionError: a page is lost, free and held, or counted wrongly.
        """
        expected = [0] * self.total
        for pages in held:
            for page in pages:
                expected[page] += 1
        if expected != self._holders:
            wrong = [page for page in range(self.total) if expected[page] != self._holders[page]]
            raise AssertionError(f"pages {wrong} have wrong reference counts")
        unheld = sorted([*self._free, *self._kept])
        if unheld != [page for page in range(self.total) if not expected[page]]:
            raise AssertionError("the unheld pages are not exactly the free and kept ones")
        if any(is_known(page) for page in self._free):
            raise AssertionError("a free page is still in the prefix cache")
        if not all(is_known(page) for page in self._kept):
            raise AssertionError("a page is kept that the prefix cache does not know")
