"""Real servers: `parlance serve` on the bundled model, in processes of their own."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from support.service_links import service_links

START_SECONDS = 240
MODEL = "parlance-bundled"


@dataclass
class ServerProcess:
    """A running server.

    Attributes:
        process: the process; the fixture ends it.
        url: base address, with `/v1`; of several processes only the first has one.
        lines: what it printed so far.
        settled: set once it is ready, or has ended.
        reader: fills `lines` until the process has ended.
        data: its store, where the flags name none.
    """

    process: subprocess.Popen[str]
    data: tempfile.TemporaryDirectory[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    settled: threading.Event = field(default_factory=threading.Event)
    reader: threading.Thread | None = None

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    def metric(self, name: str) -> float:
        """A metric without labels, by its full name."""
        text = httpx.get(f"{self.root}/metrics", timeout=30).text
        return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])

    def wait_idle(self, seconds: float) -> None:
        """Wait until no row is active, and check that every page is back."""
        deadline = time.monotonic() + seconds
        while self.metric("parlance_engine_running") or self.metric("parlance_engine_waiting"):
            assert time.monotonic() < deadline, "rows are still active"
            time.sleep(0.02)
        pages = {
            kind: self.metric(f"parlance_engine_pages_{kind}")
            for kind in ("total", "free", "cached")
        }
        assert pages["free"] + pages["cached"] == pages["total"]


def spawn_server(cache: Path, *flags: str, before: str = "") -> ServerProcess:
    """Start a server, as in a pod beside a Service of its name; `before` is run first."""
    code = f"{before}\nfrom serve.__main__ import main\nmain()"
    data = tempfile.TemporaryDirectory(prefix="parlance-data-")
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", "0", "--compile-cache", str(cache), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ
        | service_links("parlance")
        | {"JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1", "XDG_DATA_HOME": data.name},
    )
    server = ServerProcess(process, data)

    def read() -> None:
        for line in process.stdout:
            server.lines.append(line)
            if found := re.search(r" (?:at (http\S+/v1)|follows process 0) \(ready in", line):
                server.url = found[1] or ""
                server.settled.set()
        server.settled.set()

    server.reader = threading.Thread(target=read, daemon=True)
    server.reader.start()
    return server


def start_server(cache: Path, *flags: str, before: str = "") -> ServerProcess:
    """Start a server and wait until it is ready; `before` is code that it runs first."""
    server = spawn_server(cache, *flags, before=before)
    server.settled.wait(START_SECONDS)
    if not server.url:
        end_server(server)
        raise RuntimeError("the server did not get ready:\n" + "".join(server.lines))
    return server


def end_server(server: ServerProcess) -> int:
    """Ask the server to end, and see that it does; returns its exit code."""
    server.process.terminate()
    try:
        return server.process.wait(60)
    except subprocess.TimeoutExpired:
        server.process.kill()
        return server.process.wait(20)
    finally:
        server.reader.join(30)
        server.process.stdout.close()
        server.data.cleanup()
