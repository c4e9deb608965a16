import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.config import ServeConfig
from serve.server import ListenError, http_config, listen

# A server whose engine is a counter: /work holds a request open until the engine stops, /end
# lets those requests end, /die kills the engine.
PROGRAM = """
import asyncio, json, sys, threading
from concurrent.futures import Future
from quart import Quart, Response
from serve.config import ServeConfig
from serve.leaving import leave_at_once
from serve.server import Server, http_config, listen

class Engine:
    def __init__(self):
        self.death = Future()
        self.draining = self.stopped = False
    def drain(self):
        self.draining = True
    def stop(self):
        self.stopped = True
        if not self.death.done():
            self.death.set_result(None)

settings = json.loads(sys.argv[1])
hang = settings.pop("hang", False)
config = ServeConfig(port=0, **settings)
engine, app, working, release = Engine(), Quart("app"), set(), asyncio.Event()
engine.death.add_done_callback(lambda _: loop.call_soon_threadsafe(release.set))

@app.get("/work")
async def work():
    async def body():
        working.add(task := object())
        try:
            yield b"begun "
            await release.wait()
            yield b"stopped" if engine.stopped else b"ended"
        finally:
            working.discard(task)
    return Response(body())

@app.get("/end")
async def end():
    release.set()
    return "draining" if engine.draining else "serving"

@app.get("/draining")
async def draining():
    return "draining" if engine.draining else "serving"

@app.get("/die")
async def die():
    engine.death.set_result(RuntimeError("injected"))
    return "dead"

async def main():
    global loop
    loop = asyncio.get_running_loop()
    listener = listen(config.host, 0)
    port = listener.getsockname()[1]
    server = Server(app, engine, lambda: len(working), config)
    print(port, flush=True)
    start = threading.Event().wait if hang else lambda: None
    code = await server.run(
        http_config(config, listener), start, lambda: print("ready", flush=True)
    )
    print("drained" if engine.draining else "not drained", flush=True)
    if not server.started:
        sys.stdout.flush()
        leave_at_once(code)
    return code

sys.exit(asyncio.run(main()))
"""


class Running:
    """The program above as a process of its own."""

    def __init__(self, **settings: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(settings)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self._lines = self.process.stdout
        self.url = f"http://127.0.0.1:{int(self._lines.readline())}"
        if not settings.get("hang"):
            assert self._lines.readline() == "ready\n"

    def ended(self) -> tuple[int, str]:
        """Exit code and last words."""
        code = self.process.wait(30)
        return code, self._lines.read()


@contextmanager
def running(**settings: Any) -> Iterator[Running]:
    server = Running(**settings)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        server._lines.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_with_0(client: httpx.Client, asked: signal.Signals) -> None:
    with running() as server:
        assert client.get(f"{server.url}/end").text == "serving"
        server.process.send_signal(asked)
        assert server.ended() == (0, "drained\n")


def test_running_requests_end_before_the_server(client: httpx.Client) -> None:
    with running() as server, client.stream("GET", f"{server.url}/work") as response:
        pieces = response.iter_text()
        assert next(pieces) == "begun "
        server.process.terminate()
        # It still answers while it drains: that is how readiness says 503.
        while client.get(f"{server.url}/end").text != "draining":
            time.sleep(0.01)
        assert "".join(pieces) == "ended"
        assert server.ended() == (0, "drained\n")


def test_draining_is_bounded(client: httpx.Client) -> None:
    with (
        running(drain_seconds=0.2) as server,
        client.stream("GET", f"{server.url}/work") as response,
    ):
        pieces = response.iter_text()
        next(pieces)
        server.process.terminate()
        assert "".join(pieces) == "stopped"
        assert server.ended() == (0, "drained\n")


def test_a_second_interrupt_ends_at_once(client: httpx.Client) -> None:
    with running() as server, client.stream("GET", f"{server.url}/work") as response:
        pieces = response.iter_text()
        next(pieces)
        server.process.send_signal(signal.SIGINT)
        # The second is sent again until it finds the first one handled: two signals that
        # arrive together may be delivered as one.
        while server.process.poll() is None:
            time.sleep(0.05)
            server.process.send_signal(signal.SIGINT)
        assert server.ended() == (130, "")


def test_a_stop_while_the_engine_starts(client: httpx.Client) -> None:
    with running(hang=True) as server:
        assert client.get(f"{server.url}/end").text == "serving"
        server.process.terminate()
        assert server.ended() == (0, "not drained\n")


def test_the_engine_s_death_ends_the_process_with_1(client: httpx.Client) -> None:
    with running() as server, client.stream("GET", f"{server.url}/work") as response:
        pieces = response.iter_text()
        next(pieces)
        assert client.get(f"{server.url}/die").text == "dead"
        # The open response gets its last words.
        assert "".join(pieces) == "ended"
        assert server.ended() == (1, "not drained\n")


def test_an_engine_that_dies_while_draining_is_told_by_the_code(client: httpx.Client) -> None:
    with running() as server, client.stream("GET", f"{server.url}/work") as response:
        pieces = response.iter_text()
        next(pieces)
        server.process.terminate()
        while client.get(f"{server.url}/draining").text != "draining":
            time.sleep(0.02)
        assert client.get(f"{server.url}/die").text == "dead"
        assert "".join(pieces) == "ended"
        assert server.ended() == (1, "drained\n")


def test_a_server_may_outlive_its_engine(client: httpx.Client) -> None:
    with running(exit_on_engine_death=False) as server:
        client.get(f"{server.url}/die")
        assert client.get(f"{server.url}/end").text == "serving"
        server.process.terminate()
        assert server.ended() == (0, "drained\n")


def test_a_port_in_use() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port} on 127.0.0.1 is in use already"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no such host.invalid", "203.0.113.7", "\ud800", "a" * 70])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(ListenError, match="host is "):
        listen(host, 0)


def test_names_and_both_families() -> None:
    with listen("localhost", 0) as listener:
        assert listener.family is socket.AF_INET
    if socket.has_ipv6:
        with listen("::", 0) as listener:
            assert listener.family is socket.AF_INET6


def test_tls_files_that_do_not_work(tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    config = ServeConfig(certfile=str(path), keyfile=str(path))
    with listen("127.0.0.1", 0) as listener:
        with pytest.raises(ListenError, match="No such file"):
            http_config(config, listener)
        path.write_text("not a certificate", encoding="utf-8")
        with pytest.raises(ListenError, match="cannot be used for TLS"):
            http_config(config, listener)
