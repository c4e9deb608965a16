"""Processes that a server has started, as Linux tells of them."""

import os
from contextlib import suppress
from pathlib import Path


def children(process: int, having: str = "") -> list[int]:
    """Those of a process, by any of its threads, that have a text in their command line."""
    found: list[int] = []
    for place in Path("/proc", str(process)).glob("task/*/children"):
        # Whatever is looked at may end meanwhile.
        with suppress(OSError):
            found += map(int, place.read_text(encoding="ascii").split())
    return [each for each in found if having in command_line(each)]


def command_line(process: int) -> str:
    """Its arguments, joined by spaces; "" where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def held(process: int) -> tuple[int, int]:
    """Its threads and its open files."""
    place = Path("/proc", str(process))
    return len(list((place / "task").iterdir())), len(list((place / "fd").iterdir()))


def memory(process: int) -> float:
    """MiB that it holds."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE") / 2**20
