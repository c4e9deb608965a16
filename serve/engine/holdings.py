"""The cache pages that sequences hold: shared with others, taken new, named, given back.

Owns every sequence's `pages`, `names` and `registered`, and says how many of its tokens they
spare from being computed. Knows nothing of rows, queues or steps: whether a sequence may start,
and who gives way, the scheduler decides.
"""

from collections.abc import Iterable

from serve.engine.config import EngineConfig
from serve.engine.pages import PagePool
from serve.engine.prefix_cache import PrefixCache, page_name, page_names, root_of
from serve.engine.sequence import Sequence


class Holdings:
    """All pages, and who holds them."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._prefixes = PrefixCache()
        self._pool = PagePool(config.num_pages, self._prefixes.forget)

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
        """Give a sequence the cached pages of its prefix, and the rest new.

        Args:
            sequence: holds no page; its `computed` is set to what the cached pages spare.
            margin: pages to leave over.

        Returns:
            False, and nothing is changed, if there are too few.
        """
        config = self._config
        cached = self._cached(sequence)
        if self._missing(sequence, cached) + margin > 0:
            return False
        needed = config.pages_for(self._reserved_tokens(sequence)) - len(cached)
        self._pool.hold(cached)
        sequence.pages = cached + self._pool.take(needed)
        sequence.computed = len(cached) * config.page_size
        sequence.registered = len(cached)
        return True

    def has_room(self, sequence: Sequence, margin: int) -> bool:
        """Whether `begin` would find enough pages."""
        return self._missing(sequence, self._cached(sequence)) + margin <= 0

    def _missing(self, sequence: Sequence, cached: list[int]) -> int:
        """Pages that a sequence which began now would need beyond those that are there."""
        needed = self._config.pages_for(self._reserved_tokens(sequence)) - len(cached)
        return needed - self._pool.available_without(cached)

    def spared(self, sequence: Sequence) -> int:
        """Tokens that cached pages would spare a sequence which began now."""
        return len(self._cached(sequence)) * self._config.page_size

    def _cached(self, sequence: Sequence) -> list[int]:
        config = self._config
        known = len(sequence.names) * config.page_size
        if known + config.page_size <= len(sequence.tokens):
            sequence.names = page_names(sequence.tokens, config.page_size, sequence.request.adapter)
        usable = sequence.spareable // config.page_size
        cached = self._prefixes.find(sequence.names[:usable])
        if config.deterministic:
            chunk_pages = config.prefill_chunk // config.page_size
            del cached[len(cached) - len(cached) % chunk_pages :]
        return cached

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
                parent = names[-1] if names else root_of(sequence.request.adapter)
                page_tokens = sequence.tokens[start : start + config.page_size]
                sequence.names.append(page_name(parent, page_tokens))
            self._prefixes.add(sequence.names[index], sequence.pages[index])
            sequence.registered = index + 1

    def release(self, sequence: Sequence) -> None:
        """Take a sequence's pages back; what the prefix cache knows of them is kept for now."""
        self._pool.release(sequence.pages, self._prefixes.knows)
        sequence.pages = []

    def check(self, running: Iterable[Sequence]) -> None:
        """Verify the pages against the sequences that hold some.

        Raises:
            AssertionError: a page is lost or counted wrongly.
        """
        self._pool.check((each.pages for each in running), self._prefixes.knows)
