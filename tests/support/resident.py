"""How much memory the tests' own process holds."""

import gc
from pathlib import Path


def resident() -> float:
    """MiB of memory that this process and those that try its grammars hold. Linux only."""
    gc.collect()
    page = 4096 / 2**20
    own = Path("/proc/self")
    children = (own / f"task/{own.resolve().name}/children").read_text().split()
    places = [own, *(Path("/proc", child) for child in children)]
    return sum(int((place / "statm").read_text().split()[1]) * page for place in places)
