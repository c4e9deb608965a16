"""A PostgreSQL server of Debian's package, in a directory of its own, on a socket and no port."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


def _programs() -> Path | None:
    """The newest version's directory."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


@dataclass
class PostgreSql:
    """A running server.

    Attributes:
        programs: where its programs are.
        directory: of its socket and its data.
        process: may be ended by a test.
    """

    programs: Path
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    def new_database(self) -> str:
        """The address of a place without tables; a schema is made sooner than a database."""
        name = f"s{secrets.token_hex(6)}"
        self._run(
            *("psql", "-h", str(self.directory), "-U", "parlance", "-d", "postgres"),
            *("-c", f"CREATE SCHEMA {name}"),
        )
        return f"postgresql://parlance@/postgres?host={self.directory}&search_path={name}"

    def start(self) -> None:
        data = str(self.directory / "data")
        self.process = subprocess.Popen(
            [
                str(self.programs / "postgres"),
                *("-D", data, "-k", str(self.directory), "-c", "listen_addresses="),
                # The tests end our processes, not the machine.
                *("-c", "fsync=off"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_as_other_user(),
        )
        deadline = time.monotonic() + 60
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.directory)]
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < deadline, "PostgreSQL does not get ready"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            # Whoever is connected is thrown out.
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

    def make(self) -> None:
        data = str(self.directory / "data")
        self._run("initdb", "-D", data, "-U", "parlance", "-A", "trust", "--no-instructions")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, **_as_other_user())


def _as_other_user() -> dict[str, object]:
    """It refuses to run as root."""
    if os.getuid():
        return {}
    return {
        "user": "nobody",
        "group": pwd.getpwnam("nobody").pw_gid,
        "extra_groups": [],
        "cwd": "/",
    }


@contextmanager
def postgresql() -> Iterator[PostgreSql]:
    """A running server; skips the test where there is none to run."""
    programs = _programs()
    if programs is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    # Names of sockets are short.
    directory = Path(tempfile.mkdtemp(prefix="parlance-pg-"))
    if not os.getuid():
        shutil.chown(directory, "nobody")
    server = PostgreSql(programs, directory)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)
