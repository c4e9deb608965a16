"""Compiled programs kept whole: a start neither traces nor compiles what an earlier one had.

A program's file says by what it was made: everything that could make another program of the same
name. One that is damaged, of another maker or in another's hands is told of, not used, and made
anew. What is kept is unpickled and run, as is what JAX keeps: only files are read that nobody else
could have written.
"""

import hashlib
import logging
import os
import pickle
import platform
import stat
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import jax
from jax.experimental import serialize_executable
from jax.sharding import Mesh

from model.backends import Backend
from model.config import ModelConfig
from model.vision.config import AnyVisionConfig
from serve.engine.compile_cache import UNFINISHED, KeptPrograms, delete_abandoned, reason
from serve.engine.config import EngineConfig
from serve.engine.fingerprint import versions
from serve.engine.host_memory import usable_cores
from serve.engine.programs import ProgramSpec

logger = logging.getLogger(__name__)

Program = Callable[..., Any]

# Another form of file has another first line.
_FORM = b"parlance program 1\n"
_SUFFIX = ".program"
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
# By everybody, and written by its owner alone.
_READABLE = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
# Programs that no start has asked for in so long are deleted.
_UNUSED_SECONDS = 30 * 24 * 3600
# Where our code is that programs are made of.
_PACKAGES = ("model", "sampling", "serve.engine")
# Variables with which XLA and its compilers are told what to make.
_VARIABLES = ("XLA_", "LIBTPU_", "TF_XLA_", "NVIDIA_TF32_OVERRIDE")
# Settings of JAX with such a word in their name change what is told and kept, not what is made.
_SILENT = ("cache", "log", "dump", "traceback")
# What the kernel tells of a processor that decides which code it can run, and which suits it.
_PROCESSOR = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features", "isa"),
)


class _UnusableError(Exception):
    """A file that is there and must not be used; the message says why not."""


class Executables:
    """Programs of one engine, as files of a directory.

    Args:
        kept: the directory.
        facts: all that its programs have in common (`facts_of`).
        mesh: the devices that they run on.
    """

    def __init__(self, kept: KeptPrograms, facts: str, mesh: Mesh) -> None:
        self._kept = kept
        self._directory = kept.directory / "programs"
        self._facts = facts
        self._devices = list(mesh.devices.flat)
        self._lock = threading.Lock()
        self._unread: list[Exception] = []
        self._unwritten: list[Exception] = []

    def has(self, name: str, size: int, spec: ProgramSpec) -> bool:
        """Whether there is a file of that program; whether it can be used is seen by reading it."""
        path = self._path(name, size, self._key(name, size, spec))
        with suppress(OSError):
            return path.exists()
        return False

    def program(self, name: str, size: int, spec: ProgramSpec) -> Program:
        """The program, from its file or else compiled and put there."""
        key = self._key(name, size, spec)
        path = self._path(name, size, key)
        program = self._read(path, key)
        if program is None:
            # JAX can serialize again what it has itself read from a file, and what comes of that
            # may load and then fail when it runs. So neither its files nor what it remembers of
            # functions have a part in this.
            fresh = replace(spec, function=partial(spec.function))
            with self._kept.set_aside() as from_source:
                program = fresh.compile()
            if from_source and self._kept.writable:
                self._write(path, key, program)
        return program

    def tell(self) -> None:
        """Log what could not be read or written, and delete what is not used any more."""
        with self._lock:
            unread, self._unread = self._unread, []
            unwritten, self._unwritten = self._unwritten, []
        if unread:
            logger.info(
                "kept programs in %s that could not be used and were made anew: %d (the first: %s)",
                self._directory,
                len(unread),
                reason(unread[0]),
            )
        if unwritten:
            logger.info(
                "programs that could not be kept in %s: %d (the first: %s); the next start "
                "compiles them again",
                self._directory,
                len(unwritten),
                reason(unwritten[0]),
            )
        if self._kept.writable:
            delete_abandoned(self._directory, f"*{_SUFFIX}", _UNUSED_SECONDS)
            delete_abandoned(self._directory, f"{UNFINISHED}*")

    def _key(self, name: str, size: int, spec: ProgramSpec) -> str:
        leaves, tree = jax.tree.flatten((spec.arguments, spec.out))
        return "\n".join(
            (f"{name} {size}, donates {spec.donate}", self._facts, str(tree), *map(repr, leaves))
        )

    def _path(self, name: str, size: int, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._directory / f"{name}-{size}-{digest}{_SUFFIX}"

    def _read(self, path: Path, key: str) -> Program | None:
        try:
            content = _read_own(path)
            # A directory that cannot be written is used all the same.
            with suppress(OSError):
                os.utime(path)
            return self._loaded(_payload(content, key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # noqa: BLE001  (what was damaged can fail in any way)
            with self._lock:
                self._unread.append(error)
            return None

    def _loaded(self, payload: bytes) -> Program:
        # The digest has been compared, and nobody else could have written the file.
        serialized, in_tree, out_tree = pickle.loads(payload)  # noqa: S301
        return serialize_executable.deserialize_and_load(
            serialized,
            in_tree,
            out_tree,
            backend=self._devices[0].client,
            execution_devices=self._devices,
        )

    def _write(self, path: Path, key: str, program: Any) -> None:
        try:
            _put(path, _content(key, pickle.dumps(serialize_executable.serialize(program))))
        except Exception as error:  # noqa: BLE001  (nothing that happens here may end a start)
            with self._lock:
                self._unwritten.append(error)


def facts_of(
    model: ModelConfig,
    config: EngineConfig,
    backend: Backend,
    mesh: Mesh,
    vision: AnyVisionConfig | None = None,
) -> str:
    """In text, what decides over all programs of an engine beside their names and arguments."""
    client = mesh.devices.flat[0].client
    # What only the host's side of the engine reads.
    shapes = replace(
        config,
        queue_limit=1,
        flex_patience=1,
        check_integrity=False,
        host_cache_bytes=0,
        has_page_directory=False,
    )
    facts = {
        "code": _code_digest(),
        "versions": versions(),
        "python": sys.version,
        "platform": [client.platform, client.platform_version],
        "processor": _processor(),
        # A CPU's programs are divided among them.
        "cores": [os.cpu_count(), usable_cores()],
        "devices": [
            (device.id, device.process_index, device.device_kind) for device in mesh.devices.flat
        ],
        "mesh": repr(mesh),
        "process": [jax.process_index(), jax.process_count()],
        "jax": sorted(
            (name, repr(value))
            for name, value in jax.config.values.items()
            if not any(word in name for word in _SILENT)
        ),
        "variables": sorted(
            (name, value) for name, value in os.environ.items() if name.startswith(_VARIABLES)
        ),
        "model": model,
        "engine": shapes,
        "attention": backend,
        "vision": vision,
    }
    return "\n".join(f"{name}: {value!r}" for name, value in facts.items())


def can_keep(mesh: Mesh) -> bool:
    """Whether programs of these devices can be kept whole.

    On GPUs of several processes XLA tries kernels out in turns: a process that waits for another
    one's results must not wait for one that has its programs already.
    """
    return jax.process_count() == 1 or mesh.devices.flat[0].platform != "gpu"


@cache
def _code_digest() -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        folder = Path(sys.modules[package].__path__[0])
        for path in sorted(folder.rglob("*.py")):
            code = path.read_bytes()
            digest.update(f"{package} {path.relative_to(folder)} {len(code)}\n".encode() + code)
    return digest.hexdigest()


@cache
def _processor() -> list[str]:
    """What is known of the processors: a program may use what another model has not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    known = {line for line in lines if line.partition(":")[0].strip() in _PROCESSOR}
    uname = platform.uname()
    # Elsewhere than on Linux the system's version is all that names the chip.
    return sorted(known) or [uname.system, uname.machine, uname.processor, uname.version]


def _content(key: str, payload: bytes) -> bytes:
    """A file: its form, the digest of the rest, and in the rest the key and what it is for."""
    text = key.encode()
    rest = zlib.compress(len(text).to_bytes(_LENGTH_BYTES) + text + payload, level=1)
    return _FORM + hashlib.sha256(rest).digest() + rest


def _payload(content: bytes, key: str) -> bytes:
    digest, rest = content[len(_FORM) :][:_DIGEST_BYTES], content[len(_FORM) + _DIGEST_BYTES :]
    if not content.startswith(_FORM) or hashlib.sha256(rest).digest() != digest:
        raise _UnusableError("it is damaged")
    whole = zlib.decompress(rest)
    end = _LENGTH_BYTES + int.from_bytes(whole[:_LENGTH_BYTES])
    if whole[_LENGTH_BYTES:end] != key.encode():
        raise _UnusableError("it is another program's")
    return whole[end:]


def _put(path: Path, content: bytes) -> None:
    """Write a file, which gets its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{UNFINISHED}{uuid4().hex}")
    try:
        unfinished.write_bytes(content)
        unfinished.chmod(_READABLE)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _read_own(path: Path) -> bytes:
    """A file's content, if this user or root wrote it and nobody else could."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid not in (os.geteuid(), 0):
            raise _UnusableError(f"it belongs to user {status.st_uid}")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _UnusableError("others may write it")
        return file.read()
