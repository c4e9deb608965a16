"""What of this host a process may have: memory and cores.

Knows nothing of devices that have a memory of their own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 2**63


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes of memory.

    Attributes:
        physical: that this process can hold at once, without swapping.
        total: with what can be swapped out.
        available: that can be had now without swapping; no more than is physical.
    """

    physical: int
    total: int
    available: int


def host_memory(root: Path = Path("/")) -> HostMemory:
    """What this host has, as far as the control groups of this process let it.

    Groups are how Linux limits containers and systemd's units. Those of version 1 and of version 2
    count, the process's own and every one above it
    (https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files).

    Args:
        root: of the file system.
    """
    lines = _lines(root / "proc" / "meminfo")
    known = {name.rstrip(":"): int(size) << 10 for name, size, *_ in map(str.split, lines)}
    physical = known.get("MemTotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    swap = known.get("SwapTotal", 0)
    for group in _groups(root):
        limits = (group / "memory.max", group / "memory.limit_in_bytes")
        physical = min(physical, *map(_limit, limits))
        swap = min(swap, _limit(group / "memory.swap.max"))
    available = min(physical, known.get("MemAvailable", physical))
    return HostMemory(physical, physical + swap, available)


def _groups(root: Path) -> Iterator[Path]:
    """Where the groups of this process may be: its own, and all above it.

    In a container the path may be the host's, of which only the top is there.
    """
    mount = root / "sys" / "fs" / "cgroup"
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = mount / "memory" if controllers else mount
        own = top / path.lstrip("/")
        yield own
        yield from (above for above in own.parents if above.is_relative_to(top))


def _limit(path: Path) -> int:
    words = _lines(path)
    return int(words[0]) if words and words[0].isdecimal() else _UNLIMITED


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def usable_cores() -> int:
    """Cores that this process may run on."""
    # Where a system can bind processes to cores, some of them may be another's.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
