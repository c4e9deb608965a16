"""The cache pages that sequences hold: shared with others, taken new, named, given back.

Owns every sequence's `pages`, `names` and `registered`, and says how many of its tokens they
spare from being computed; those that the pool has given up come back from `cache_tiers.py`. Knows
nothing of rows, queues or steps: whether a sequence may start, and who gives way, the scheduler
decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from serve.engine.cache_tiers import CacheTiers, Found
from serve.engine.config import EngineConfig
from serve.engine.pages import PagePool
from serve.engine.prefix_cache import PrefixCache, page_images, page_name, page_names
from serve.engine.prompt_images import image_across
from serve.engine.retention import Group
from serve.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class _Prefix:
    """What there is of a sequence's first pages.

    Attributes:
        pages: in the pool.
        found: those after them, elsewhere.
    """

    pages: list[int]
    found: list[Found]

    @property
    def count(self) -> int:
        """Pages in all."""
        return len(self.pages) + len(self.found)


class Holdings:
    """All pages, and who holds them.

    Args:
        config: the engine's settings.
        cache_tiers: where pages are that the pool gives up.
    """

    def __init__(self, config: EngineConfig, cache_tiers: CacheTiers) -> None:
        self._config = config
        self._cache_tiers = cache_tiers
        self._prefixes = PrefixCache()
        self._pool = PagePool(config.num_pages, self._evict)

    @property
    def total(self) -> int:
        """Pages there are."""
        return self._pool.total

    @property
    def free(self) -> int:
        """Pages that hold nothing."""
        return self._pool.free

    @property
    def kept(self) -> int:
        """Pages without a holder that the prefix cache knows."""
        return self._pool.kept

    def begin(self, sequence: Sequence, margin: int) -> bool:
        """Give a sequence the cached pages of its prefix, and the rest new or to be filled.

        Args:
            sequence: holds no page; its `computed` is set to what the cached pages spare.
            margin: pages to leave over.

        Returns:
            False, and nothing is changed, if there are too few.
        """
        config = self._config
        prefix = self._cached(sequence)
        cached = len(prefix.pages)
        if self._missing(sequence, prefix.pages) + margin > 0:
            return False
        needed = config.pages_for(self._reserved_tokens(sequence)) - cached
        self._use(sequence.group)
        self._pool.hold(prefix.pages)
        sequence.pages = prefix.pages + self._pool.take(needed)
        sequence.computed = prefix.count * config.page_size
        sequence.registered = prefix.count
        restored = sequence.pages[cached : prefix.count]
        for each, page in zip(prefix.found, restored, strict=True):
            # Filled before any step that is planned from now on.
            self._prefixes.add(each.name, page)
        self._cache_tiers.restore(sequence.arrival, prefix.found, restored, sequence.group)
        if sequence.cached_tokens < 0 and sequence.choice == 0:
            self._count_hits(sequence, prefix)
        return True

    def _use(self, group: Group | None) -> None:
        self._pool.use(group)
        self._cache_tiers.use(group)

    def _count_hits(self, sequence: Sequence, prefix: _Prefix) -> None:
        size, group = self._config.page_size, sequence.group
        self._cache_tiers.count_hit("device", group, len(prefix.pages) * size)
        for each in prefix.found:
            self._cache_tiers.count_hit(each.tier, group, size)

    def _evict(self, page: int, group: Group | None) -> None:
        self._cache_tiers.evicted(page, self._prefixes.forget(page), group)

    def arriving(self, sequence: Sequence) -> bool:
        """Whether a sequence should wait for pages of its prefix, which are being read."""
        if not self._cache_tiers.reads:
            return False
        prefix = self._cached(sequence, whole_chunks=False)
        usable = sequence.spareable // self._config.page_size
        return self._cache_tiers.arriving(sequence.arrival, sequence.names[prefix.count : usable])

    def leave(self, sequence: Sequence) -> None:
        """A sequence waits for no pages any more."""
        self._cache_tiers.leave(sequence.arrival)

    def has_room(self, sequence: Sequence, margin: int) -> bool:
        """Whether `begin` would find enough pages."""
        return self._missing(sequence, self._cached(sequence).pages) + margin <= 0

    def _missing(self, sequence: Sequence, cached: list[int]) -> int:
        """Pages that a sequence which began now would need beyond those that are there."""
        needed = self._config.pages_for(self._reserved_tokens(sequence)) - len(cached)
        return needed - self._pool.available_without(cached)

    def spared(self, sequence: Sequence) -> int:
        """Tokens that cached pages would spare a sequence which began now."""
        return self._cached(sequence).count * self._config.page_size

    def _cached(self, sequence: Sequence, *, whole_chunks: bool = True) -> _Prefix:
        config = self._config
        known = len(sequence.names) * config.page_size
        if known + config.page_size <= len(sequence.tokens):
            images = sequence.request.images
            sequence.names = page_names(sequence.tokens, config.page_size, sequence.root, images)
        usable = sequence.spareable // config.page_size
        pages = self._prefixes.find(sequence.names[:usable])
        found = self._cache_tiers.find(sequence.arrival, sequence.names[len(pages) : usable])
        if config.deterministic and whole_chunks:
            count, chunk = len(pages) + len(found), config.prefill_chunk // config.page_size
            count -= count % chunk
            # Nor does a chunk begin within an image that is never cut.
            while config.whole_image and image_across(
                sequence.request.images, count * config.page_size
            ):
                count -= chunk
            del found[max(0, count - len(pages)) :], pages[count:]
        return _Prefix(pages, found)

    def grow(self, sequence: Sequence, margin: int = 0) -> bool:
        """Give a sequence one page more; False if no more than `margin` are left."""
        if self._pool.available <= margin:
            return False
        sequence.pages += self._pool.take(1)
        return True

    def can_share(self, first: Sequence, sequence: Sequence) -> bool:
        """Whether there are pages for `share`."""
        return self._needed_beside(first, sequence) <= self._pool.available

    def share(self, first: Sequence, sequence: Sequence) -> tuple[int, int]:
        """Start a sequence from the prompt that its sibling `first` has computed.

        It holds the full pages of that, and own ones for the rest.

        Returns:
            The page that is partly filled by the prompt, and the one that must be made its copy;
            −1 for both where the prompt ends with a page.
        """
        size = self._config.page_size
        shared = first.prompt_length // size
        self.leave(sequence)
        own = self._pool.take(self._needed_beside(first, sequence))
        self._pool.hold(first.pages[:shared])
        sequence.pages = first.pages[:shared] + own
        sequence.names = first.names[:shared]
        sequence.registered = shared
        sequence.computed = first.prompt_length
        copies = first.prompt_length % size > 0
        return (first.pages[shared], own[0]) if copies else (-1, -1)

    def _needed_beside(self, first: Sequence, sequence: Sequence) -> int:
        shared = first.prompt_length // self._config.page_size
        return self._config.pages_for(self._reserved_tokens(sequence)) - shared

    def _reserved_tokens(self, sequence: Sequence) -> int:
        """Tokens whose pages a sequence is given when it starts.

        A deterministic row gets all that it can ever need, so that it is never recomputed:
        prefill would not give the bits that decode gave.
        """
        if self._config.deterministic:
            return sequence.prompt_length + sequence.request.max_tokens - 1
        return len(sequence.tokens)

    def register(self, sequence: Sequence) -> None:
        """Tell the prefix cache of pages that are full and whose tokens are known.

        A deterministic engine shares only what whole prefill chunks computed: the same bits
        as any other prompt with that prefix would get.
        """
        config = self._config
        known = min(sequence.computed, len(sequence.tokens))
        if config.deterministic:
            known = min(known, sequence.prompt_length)
            known -= known % config.prefill_chunk
        for index in range(sequence.registered, known // config.page_size):
            if index == len(sequence.names):
                start = index * config.page_size
                names = sequence.names
                parent = names[-1] if names else sequence.root
                end = start + config.page_size
                images = page_images(sequence.request.images, start, end)
                sequence.names.append(page_name(parent, sequence.tokens[start:end], images))
            self._prefixes.add(sequence.names[index], sequence.pages[index])
            sequence.registered = index + 1

    def release(self, sequence: Sequence) -> None:
        """Take a sequence's pages back; what the prefix cache knows of them is kept for now."""
        if sequence.request.cached_for_days:
            for name, page in zip(
                sequence.names, self._prefixes.find(sequence.names), strict=False
            ):
                self._cache_tiers.keep_for_days(page, name)
        self._pool.release(sequence.pages, self._prefixes.knows, sequence.group)
        sequence.pages = []

    def check(self, running: Iterable[Sequence], waiting: Iterable[Sequence]) -> None:
        """Verify the pages against the sequences that hold some.

        Raises:
            AssertionError: a page is lost or counted wrongly, or read for nobody.
        """
        self._cache_tiers.check({each.arrival for each in waiting})
        self._pool.check((each.pages for each in running), self._prefixes.knows)
