"""The memory that a start leaves behind, whether programs had to be compiled or not."""

import subprocess
import sys
from pathlib import Path

import pytest

# Prints the mebibytes that a process holds when all of its programs are there.
START = """
import sys
from pathlib import Path
from model.bundled import directory
from serve.engine.loading import load_engine

cache = Path(sys.argv[1])
loaded = load_engine(directory(), rows=16, cache_tokens=4096, compile_cache=cache)
loaded.runner.compile(lambda *_: None)
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS")))
"""


def mebibytes_after_a_start(cache: Path) -> int:
    command = [sys.executable, "-c", START, str(cache)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_compiling_leaves_nothing_behind(tmp_path: Path) -> None:
    cold = mebibytes_after_a_start(tmp_path)
    warm = mebibytes_after_a_start(tmp_path)
    print(f"{cold} MiB after compiling, {warm} MiB without")
    # It was twice as much while the allocator kept what the compiler had freed.
    assert cold < 1.2 * warm
