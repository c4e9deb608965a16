"""Limits of memory, read from the files that Linux has them in."""

import ctypes
from pathlib import Path

import pytest

from model import freed
from model.freed import release_memory
from serve.engine import host_memory
from serve.engine.host_memory import HostMemory

GIB = 2**30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host of 16 GiB, of which 12 are available, and 4 GiB of swap space."""
    write(tmp_path, "proc/meminfo", MemTotal=16, MemAvailable=12, SwapTotal=4)
    return tmp_path


def write(root: Path, name: str, text: str = "", **gibibytes: int) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = "".join(f"{key}:   {size * 2**20} kB\n" for key, size in gibibytes.items())
    path.write_text(sizes + text)


def test_a_host_without_limits(root: Path) -> None:
    assert host_memory.host_memory(root) == HostMemory(16 * GIB, 20 * GIB, 12 * GIB)


def test_version_2_limits_memory_and_swap_space(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/system.slice/parlance.service\n")
    write(root, "sys/fs/cgroup/system.slice/parlance.service/memory.max", "max\n")
    write(root, "sys/fs/cgroup/system.slice/parlance.service/memory.swap.max", f"{GIB}\n")
    write(root, "sys/fs/cgroup/system.slice/memory.max", f"{8 * GIB}\n")
    assert host_memory.host_memory(root) == HostMemory(8 * GIB, 9 * GIB, 8 * GIB)


def test_version_2_in_a_container_has_its_limit_at_the_top(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", f"{2 * GIB}\n")
    write(root, "sys/fs/cgroup/memory.swap.max", "0\n")
    assert host_memory.host_memory(root) == HostMemory(2 * GIB, 2 * GIB, 2 * GIB)


@pytest.mark.parametrize("where", ["memory", "memory/docker/a1"])
def test_version_1_in_and_beside_a_container(root: Path, where: str) -> None:
    write(root, "proc/self/cgroup", "5:cpu,cpuacct:/docker/a1\n4:memory:/docker/a1\n0::/\n")
    write(root, f"sys/fs/cgroup/{where}/memory.limit_in_bytes", f"{3 * GIB}\n")
    assert host_memory.host_memory(root) == HostMemory(3 * GIB, 7 * GIB, 3 * GIB)


def test_version_1_without_a_limit(root: Path) -> None:
    write(root, "proc/self/cgroup", "4:memory:/\n")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert host_memory.host_memory(root).physical == 16 * GIB


def test_a_system_without_such_files(tmp_path: Path) -> None:
    found = host_memory.host_memory(tmp_path)
    assert 0 < found.available == found.physical == found.total


def test_this_host() -> None:
    found = host_memory.host_memory()
    assert 0 < found.available <= found.physical <= found.total


@pytest.mark.skipif(freed._trim() is None, reason="the C library cannot be asked")
def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    """Small blocks up to a last one that is kept: the allocator alone would keep all of them."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
    blocks = [ctypes.c_void_p(libc.malloc(64 << 10)) for _ in range(2048)]
    for block in blocks:
        libc.memset(block, 1, 64 << 10)
    for block in blocks[:-1]:
        libc.free(block)
    before = resident()
    release_memory()
    assert before - resident() > 100 * 2**20
    libc.free(blocks[-1])


def test_a_c_library_that_has_no_such_call(monkeypatch: pytest.MonkeyPatch) -> None:
    freed._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    release_memory()
    freed._trim.cache_clear()
