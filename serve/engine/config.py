"""The engine's settings, resolved once at start-up."""

from dataclasses import dataclass

from sampling.params import END_IDS

MIN_PREFILL_BUCKET = 16
# The programs place each token of the cache, and padding behind them, by 32-bit integers.
MOST_CACHE_TOKENS = 2**31 - 1


class EngineConfigError(ValueError):
    """Settings that cannot work together; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the engine batches and how much cache it has.

    Attributes:
        context_length: most tokens that a prompt and its answer have together.
        cache_tokens: tokens that the cache pages hold in all, at least context_length.
        max_rows: most choices decoded in one step.
        page_size: tokens per cache page, a power of two.
        prefill_chunk: most prompt tokens run in one step, a power of two, at least a page
            and at least 16.
        prefill_beside: a step that also continues answers has about so many tokens in all, if at
            most a quarter as many prompts wait as answers run; a power of two, at most
            `prefill_chunk`; 0 for that.
        queue_limit: most choices that wait while all rows are taken, but for callers who have less
            than their share.
        flex_patience: how many rows higher tiers get while a lower one waits, until one of the
            lower goes first.
        deterministic: a seeded request gives the same bytes under any load, at the price of
            always decoding `max_rows` rows, of a pass over the weights for each prompt's chunk,
            and of reserving a choice's pages up front.
        check_integrity: verify the page bookkeeping whenever the engine is idle.
        least_rows: a step computes at least so many tokens, padding among them.
        end_ids: most ids that end a turn, of a request that bans them.
        ngrams: draft what came after the same tokens before, in the prompt or the answer.
        draft_tokens: rows bring drafts as far as a step has no more than so many tokens.
        host_cache_bytes: what pages that have left the pool may take of the host's memory.
        has_page_directory: whether pages may also go to a directory.
        image_vectors: of images, that the device keeps for when they come again, at least those of
            one image; 0 for a model that does not see.
        whole_image: most tokens of an image whose tokens see each other, and so are computed in
            one step; 0 where images may be cut.
    """

    context_length: int
    cache_tokens: int
    max_rows: int = 64
    page_size: int = 16
    prefill_chunk: int = 256
    prefill_beside: int = 0
    queue_limit: int = 512
    flex_patience: int = 32
    deterministic: bool = False
    check_integrity: bool = False
    least_rows: int = 1
    end_ids: int = END_IDS
    ngrams: bool = False
    draft_tokens: int = 16
    host_cache_bytes: int = 0
    has_page_directory: bool = False
    image_vectors: int = 0
    whole_image: int = 0

    def __post_init__(self) -> None:
        for name in ("context_length", "max_rows", "queue_limit", "flex_patience"):
            if getattr(self, name) < 1:
                raise EngineConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("page_size", "prefill_chunk"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise EngineConfigError(f"{name} is {value}; it must be a power of two")
        if self.prefill_chunk < max(self.page_size, MIN_PREFILL_BUCKET):
            raise EngineConfigError(
                f"prefill_chunk is {self.prefill_chunk}; it must be at least "
                f"{max(self.page_size, MIN_PREFILL_BUCKET)}"
            )
        beside = self.prefill_beside
        if beside and (
            beside & (beside - 1) or not MIN_PREFILL_BUCKET <= beside <= self.prefill_chunk
        ):
            raise EngineConfigError(
                f"prefill_beside is {beside}; it must be a power of two from {MIN_PREFILL_BUCKET} "
                f"to prefill_chunk, which is {self.prefill_chunk}"
            )
        if self.deterministic and self.whole_image > self.prefill_chunk:
            raise EngineConfigError(
                f"prefill_chunk is {self.prefill_chunk}; in deterministic mode it must be at least "
                f"{self.whole_image}, for the tokens of an image are computed together "
                f"(--prefill-chunk)"
            )
        if self.num_pages * self.page_size > MOST_CACHE_TOKENS:
            raise EngineConfigError(
                f"a cache of {self.cache_tokens} tokens in pages of {self.page_size} is more "
                f"than the programs can address, which is {MOST_CACHE_TOKENS} tokens; lower "
                f"cache_tokens (--cache-tokens) or page_size (--page-size)"
            )
        if self.num_pages * self.page_size < self.context_length:
            raise EngineConfigError(
                f"a cache of {self.cache_tokens} tokens cannot hold one context of "
                f"{self.context_length}; raise the cache or lower the context"
            )

    @property
    def most_choices(self) -> int:
        """Choices that rows and queue hold together."""
        return self.max_rows + self.queue_limit

    @property
    def moves_pages(self) -> bool:
        """Whether pages leave the pool for somewhere else, and come back."""
        return self.host_cache_bytes > 0 or self.has_page_directory

    @property
    def num_pages(self) -> int:
        """Pages in the pool."""
        return -(-self.cache_tokens // self.page_size)

    def pages_for(self, tokens: int) -> int:
        """Pages that `tokens` consecutive tokens take."""
        return -(-tokens // self.page_size)

    @property
    def row_buckets(self) -> tuple[int, ...]:
        """Numbers of tokens sampled together that are compiled: of 1, 4, 16, 32, … to `max_rows`.

        None for 8: sampling takes long to compile for what it takes of a step.
        """
        if self.deterministic:
            return (self.max_rows,)
        sizes = (1, 4, *_doubling(16, max(16, self.max_rows)))
        large = [size for size in sizes if size >= self.least_rows]
        return tuple({min(size, self.max_rows): None for size in large})

    @property
    def chunk_buckets(self) -> tuple[int, ...]:
        """Lengths of a prompt's chunk that are computed by itself: 16, 64, 128, … `prefill_chunk`.

        No more than the first that holds a whole context: there is no longer prompt.
        """
        start = 4 * MIN_PREFILL_BUCKET
        longest = min(self.prefill_chunk, _doubling(start, self.context_length)[-1])
        sizes = (MIN_PREFILL_BUCKET, *_doubling(start, longest))
        return tuple({min(size, longest): None for size in sizes})

    @property
    def token_buckets(self) -> tuple[int, ...]:
        """Numbers of tokens of a step that are compiled.

        1, 4, 8, 16, … up to twice the rows and to `prefill_chunk`, but no more than all rows'
        contexts. A deterministic engine computes either all rows or one chunk.
        """
        if self.deterministic:
            return tuple(sorted({self.max_rows, *self.chunk_buckets}))
        most = min(max(self.prefill_chunk, 2 * self.max_rows), self.max_rows * self.context_length)
        sizes = (1, *_doubling(4, most))
        return tuple(dict.fromkeys(max(size, self.least_rows) for size in sizes))

    @property
    def seeing_buckets(self) -> tuple[int, ...]:
        """Numbers of tokens of a step with images that are compiled.

        The largest has room for a whole image beside all rows.
        """
        if self.deterministic:
            return self.chunk_buckets
        most = self.token_buckets[-1]
        large = [size for size in self.token_buckets if size >= 4 * MIN_PREFILL_BUCKET]
        beside = self.max_rows + min(self.whole_image, self.context_length)
        return tuple(sorted({*large, *_doubling(most, beside)}))

    def prompt_tokens(self, running: int, waiting: int) -> int:
        """How many tokens of prompts a step computes at most.

        Alone they may fill the largest program. Beside running answers the step is as short
        as `prefill_beside` says, so that nobody who reads waits long; but where more than a quarter
        as many prompts wait as answers run, it may be longer.

        Args:
            running: answers that the step continues.
            waiting: prompts that it could compute.
        """
        if self.deterministic or not running:
            return self.prefill_chunk
        beside = self.prefill_beside or self.prefill_chunk
        wanted = min(beside * max(4 * waiting, running) // running, self.prefill_chunk)
        whole = bucket(min(max(wanted, 2 * running), self.token_buckets[-1]), self.token_buckets)
        return min(whole - running, self.prefill_chunk)


def least_rows(platform: str) -> int:
    """`EngineConfig.least_rows` for a platform, as JAX names it.

    The TPU's compiler makes sums of a product of one row, which took 3.5 times as many cycles as
    the same product of four rows on the matrix units.
    """
    return 4 if platform == "tpu" else 1


def default_beside(platform: str, prefill_chunk: int) -> int:
    """`EngineConfig.prefill_beside` for a platform, as JAX names it.

    An accelerator has read the weights before it has multiplied some hundred tokens by them. A CPU
    takes three times as long for 64 tokens as for four.
    """
    few = max(MIN_PREFILL_BUCKET, prefill_chunk // 4)
    return min(few, prefill_chunk) if platform == "cpu" else prefill_chunk


def default_draft_tokens(platform: str) -> int:
    """`EngineConfig.draft_tokens` for a platform, as JAX names it.

    On an accelerator, where reading the weights is what takes the time, tokens that turn out wrong
    cost little.
    """
    return 16 if platform == "cpu" else 64


def _doubling(start: int, end: int) -> list[int]:
    """start, 2 · start, 4 · start … up to the first that is at least `end`."""
    sizes = [start]
    while sizes[-1] < end:
        sizes.append(2 * sizes[-1])
    return sizes


def bucket(size: int, buckets: tuple[int, ...]) -> int:
    """The smallest bucket that holds `size`."""
    return next(width for width in buckets if width >= size)
