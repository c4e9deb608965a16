"""A `parlance serve` of our own, for programs that measure one."""

import re
import subprocess
import sys
from pathlib import Path
from threading import TIMEOUT_MAX, Timer

import click
import httpx

READY = re.compile(r" at (http\S+/v1) \(ready in ([0-9.]+) s\)")
STOP_SECONDS = 30


class Served:
    """A `parlance serve` process, from entering to leaving the block.

    Args:
        model: its checkpoint.
        flags: more of the command line.
        start_seconds: after which it is given up if it is not ready; None for never.
    """

    def __init__(
        self, model: Path, flags: tuple[str, ...], start_seconds: float | None = None
    ) -> None:
        self._start_seconds = start_seconds
        self._command = [sys.executable, "-m", "serve", "serve", "--model", str(model)]
        self._command += ["--port", "0", "--log-level", "warning", *flags]
        self.url = ""
        self.ready_seconds = 0.0

    def __enter__(self) -> "Served":
        self._process = subprocess.Popen(  # noqa: S603  (our own command)
            self._command, stdout=subprocess.PIPE, text=True
        )
        given_up = Timer(self._start_seconds or TIMEOUT_MAX, self._process.kill)
        given_up.daemon = True
        given_up.start()
        try:
            for line in self._process.stdout or ():
                if found := READY.search(line):
                    self.url, self.ready_seconds = found[1], float(found[2])
                    return self
        finally:
            given_up.cancel()
        raise click.ClickException("the server did not start; see its message above, if any")

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def process_id(self) -> int:
        """Of the server."""
        return self._process.pid

    def histogram(self, name: str) -> dict[float, float]:
        """A histogram of `/metrics`: upper bound → count at or below it."""
        text = httpx.get(f"{self.url.removesuffix('/v1')}/metrics", timeout=30).text
        found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$', text, re.MULTILINE)
        return {float(bound): float(count) for bound, count in found}
