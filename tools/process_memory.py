"""Memory of a process and all that it has started, as Linux counts it."""

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class MemoryMark:
    """What each process of a tree held at a moment, from which on peaks are counted.

    Attributes:
        held: bytes that are resident, of each process.
    """

    root: int
    held: dict[int, int]

    @classmethod
    def of(cls, root: int) -> "MemoryMark":
        """Now, of the process `root` and those below it."""
        held: dict[int, int] = {}
        for process in tree(root):
            try:
                # Puts the highest mark down to what is held (proc_pid_clear_refs(5)).
                (_PROC / f"{process}/clear_refs").write_text("5")
                held[process] = _status(process, "VmRSS")
            except OSError:
                continue
        return cls(root, held)

    def peak(self) -> int:
        """The most bytes above the mark since; exact where the processes peaked together."""
        above = 0
        for process in tree(self.root):
            try:
                above += _status(process, "VmHWM") - self.held.get(process, 0)
            except OSError:
                continue
        return max(above, 0)


def tree(root: int) -> list[int]:
    """The process and all below it that run now."""
    found, queue = [], [root]
    while queue:
        process = queue.pop()
        found.append(process)
        for task in (_PROC / f"{process}/task").glob("*/children"):
            try:
                queue += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def proportional(root: int) -> int:
    """Bytes that the process and those below it hold; what several share is divided among them."""
    total = 0
    for process in tree(root):
        try:
            lines = (_PROC / f"{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * _KIB for line in lines if line.startswith("Pss:"))
    return total


def _status(process: int, name: str) -> int:
    lines = (_PROC / f"{process}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{name}:"))
