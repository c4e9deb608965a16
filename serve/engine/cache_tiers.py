"""Where pages are that the device's pool has given up: host memory, and a directory of files.

Owns which pages are to go out and come in with the next step, what is on its way, and what is read
for sequences that wait. Used by the engine thread alone: what other threads have done it takes
note of when asked to (`collect`), so that nothing changes while a step is planned. Knows nothing of
rows, queues or devices.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from serve.engine.host_pages import HostPages
from serve.engine.moves import Gathered, Moves, PageBytes, Restore, Save
from serve.engine.page_files import PageDirectory
from serve.engine.page_mover import Fetched, PageMover, Read, Written
from serve.engine.retention import Group
from serve.engine.types import CacheClass, CacheStats, CacheTier

# What may be on its way from the device at a time, and so be held there beside the pool.
MOST_LEAVING_BYTES = 256 * 2**20
# What may be read for sequences that have no row yet; one of them may always have more.
_MOST_WAITING_BYTES = 2**30
# A sequence whose pages have not been read by then is computed from what there is.
READ_SECONDS = 10.0


class Found(NamedTuple):
    """A page outside the device's pool."""

    tier: CacheTier
    name: bytes
    held: PageBytes


@dataclass(slots=True, eq=False)
class _Reading:
    """What is read for a sequence.

    Attributes:
        since: when it was first wanted.
        names: of the pages.
        begun: whether it is on its way.
        done: whether nothing more will come.
        pages: what has come.
    """

    since: float
    names: Sequence[bytes]
    begun: bool = False
    done: bool = False
    pages: dict[bytes, PageBytes] = field(default_factory=dict[bytes, PageBytes])


class CacheTiers:
    """Pages outside the pool.

    Args:
        host_bytes: what pages in host memory may take; 0 for none.
        page_bytes: what a page takes.
        directory: of pages, if there is one.
        mover: moves them; one with threads of its own if not given.
        clock: seconds.
    """

    def __init__(
        self,
        host_bytes: int = 0,
        page_bytes: int = 1,
        directory: PageDirectory | None = None,
        mover: PageMover | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._page_bytes = page_bytes
        self._host = HostPages(host_bytes // page_bytes, clock)
        self._directory = directory
        self._mover = mover or PageMover(directory)
        self._clock = clock
        # What is to leave before the next step, as the pool gives it up.
        self._leaves: list[Save] = []
        # Name → page of what is to be in the directory, and leaves when there is room.
        self._for_days: dict[bytes, int] = {}
        self._restores: list[Restore] = []
        self._leaving: set[tuple[bytes, bool]] = set()
        self._readings: dict[int, _Reading] = {}
        self._hits: dict[tuple[CacheTier, CacheClass], int] = {
            (tier, kind): 0
            for tier in ("device", "host", "directory")
            for kind in ("none", "grouped")
        }
        self._counts: Counter[str] = Counter()

    @property
    def reads(self) -> bool:
        """Whether there may be pages that take time to be read."""
        return self._directory is not None

    def collect(self) -> None:
        """Take note of what the threads have done."""
        for done in self._mover.done():
            match done:
                case Fetched(saves, pages):
                    self._take_fetched(saves, pages)
                case Written(outcome):
                    self._counts[outcome] += 1
                case Read(ticket, pages):
                    self._take_read(ticket, pages)

    def _take_fetched(self, saves: Sequence[Save], pages: list[PageBytes] | None) -> None:
        self._leaving.difference_update((save.name, save.for_days) for save in saves)
        if pages is None:
            self._counts["save_failures"] += len(saves)
            return
        for save, page in zip(saves, pages, strict=True):
            if not save.for_days:
                self._counts["saved"] += 1
                self._host.add(save.name, page, save.group)

    def _take_read(self, ticket: int, pages: list[PageBytes]) -> None:
        reading = self._readings.get(ticket)
        if reading is None or reading.done:
            return
        reading.pages.update(zip(reading.names, pages, strict=False))
        reading.done = True

    # --- what leaves -------------------------------------------------------------------

    def evicted(self, page: int, name: bytes, group: Group | None) -> None:
        """The pool gives up a page, which no step has overwritten yet."""
        if self._for_days.pop(name, None) is not None:
            self._leave(Save(page, name, group, for_days=True))
        if self._host.find(name) is not None:
            self._host.use(name, group)
        elif self._host.capacity:
            self._leave(Save(page, name, group, for_days=False))

    def keep_for_days(self, page: int, name: bytes) -> None:
        """A page that is computed, and stays in the pool for now, is to be in the directory."""
        known = self._directory is None or self._directory.has(name)
        if not known and (name, True) not in self._leaving:
            self._for_days[name] = page

    @property
    def unsaved(self) -> bool:
        """Whether there is something to leave when there is room."""
        return bool(self._for_days)

    def _leave(self, save: Save) -> None:
        if (save.name, save.for_days) not in self._leaving:
            self._leaves.append(save)

    def take_moves(self) -> Moves:
        """What is to be done before the next step."""
        most = MOST_LEAVING_BYTES // self._page_bytes - len(self._leaving)
        room = max(most, 0 if self._leaving else 1)
        # The end of a prefix is given up first, and is worth less than its beginning.
        self._counts["dropped"] += max(0, len(self._leaves) - room)
        saves = self._leaves[-room:] if room else []
        for name in list(self._for_days)[: room - len(saves)]:
            saves.append(Save(self._for_days.pop(name), name, None, for_days=True))
        self._leaving.update((save.name, save.for_days) for save in saves)
        moves = Moves(saves, self._restores)
        self._leaves, self._restores = [], []
        return moves

    def carry(self, gathered: Sequence[Gathered]) -> None:
        """Fetch what has been copied."""
        for each in gathered:
            self._mover.fetch(each)

    # --- what comes back ---------------------------------------------------------------

    def find(self, ticket: int, names: Sequence[bytes]) -> list[Found]:
        """The pages of the longest prefix of `names` that can be filled at once.

        Args:
            ticket: of the sequence that wants them.
            names: of pages, in order.
        """
        found: list[Found] = []
        reading = self._readings.get(ticket)
        for name in names:
            if (page := self._host.find(name)) is not None:
                found.append(Found("host", name, page))
            elif reading is not None and (page := reading.pages.get(name)) is not None:
                found.append(Found("directory", name, page))
            else:
                break
        return found

    def arriving(self, ticket: int, names: Sequence[bytes]) -> bool:
        """Whether a sequence should wait for pages that are read for it.

        Args:
            ticket: of the sequence.
            names: of the pages that it would want next, beyond what there is.
        """
        if self._directory is None:
            return False
        reading = self._readings.get(ticket)
        if reading is None:
            if not names or not self._directory.has(names[0]):
                return False
            reading = self._readings[ticket] = _Reading(self._clock(), self._known(names))
        if reading.done:
            return False
        if self._clock() - reading.since > READ_SECONDS:
            reading.done = True
            self._counts["read_failures"] += 1
            return False
        if not reading.begun and self._has_room(reading):
            reading.begun = True
            self._mover.read(ticket, reading.names, lambda: not reading.done)
        return True

    def _known(self, names: Sequence[bytes]) -> list[bytes]:
        directory, known = self._directory, list[bytes]()
        for name in names:
            if directory is None or not directory.has(name):
                break
            known.append(name)
        return known

    def _has_room(self, reading: _Reading) -> bool:
        begun = sum(len(each.names) for each in self._readings.values() if each.begun)
        most = _MOST_WAITING_BYTES // self._page_bytes
        return not begun or begun + len(reading.names) <= most

    def restore(
        self, ticket: int, found: Sequence[Found], pages: Sequence[int], group: Group | None
    ) -> None:
        """Have pages of the pool filled with what was found, before the next step."""
        for (tier, name, held), page in zip(found, pages, strict=True):
            self._restores.append(Restore(page, held))
            self._counts[f"restored_{tier}"] += 1
            if tier == "directory":
                self._host.add(name, held, group)
        # The end of a prefix goes before its beginning.
        for each in reversed(found):
            self._host.use(each.name, group)
        self.leave(ticket)

    def leave(self, ticket: int) -> None:
        """A sequence waits for nothing any more."""
        if (reading := self._readings.pop(ticket, None)) is not None:
            reading.done = True

    # --- counting ----------------------------------------------------------------------

    def use(self, group: Group | None) -> None:
        """Somebody uses a group."""
        self._host.use_group(group)

    def count_hit(self, tier: CacheTier, group: Group | None, tokens: int) -> None:
        """So many tokens of a prompt were found in a tier."""
        kind: CacheClass = "none" if group is None else "grouped"
        self._hits[tier, kind] += tokens

    def stats(self) -> CacheStats:
        """Counters and gauges as they are now."""
        directory, counts = self._directory, self._counts
        return CacheStats(
            hits=dict(self._hits),
            host_bytes=len(self._host) * self._page_bytes,
            directory_bytes=0 if directory is None else directory.size,
            moved={
                "to_host": counts["saved"],
                "to_directory": counts["written"],
                "from_host": counts["restored_host"],
                "from_directory": counts["restored_directory"],
            },
            dropped=counts["dropped"],
            failures={
                "save": counts["save_failures"],
                "write": counts["write_failures"],
                "read": counts["read_failures"] + (0 if directory is None else directory.unusable),
            },
        )

    def check(self, waiting: set[int]) -> None:
        """Verify what is read against the sequences that wait, by their tickets.

        Raises:
            AssertionError: something is read for nobody.
        """
        if strangers := set(self._readings) - waiting:
            raise AssertionError(f"pages are kept for sequences {strangers}, which do not wait")

    def close(self) -> None:
        """End the threads, after what is to be written, and let go of the directory."""
        self._mover.close()
        if self._directory is not None:
            self._directory.close()
