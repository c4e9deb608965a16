"""A server that stores what an engine without a model says, and can be killed and is back at once.

Run as a program, with the place of a store: it prints its port and forks the server for each line
that it reads, telling its process. All of them listen on one socket, so that whoever connects
while there is none waits for the next one.
"""

import asyncio
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

TESTS = Path(__file__).parents[1]


@dataclass
class StoringServer:
    """The program.

    Attributes:
        program: forks.
        port: of all servers.
        process: of the server that there is.
    """

    program: subprocess.Popen[str]
    port: int
    process: int = 0

    def start(self) -> None:
        assert self.program.stdin is not None
        self.program.stdin.write("\n")
        self.program.stdin.flush()
        assert self.program.stdout is not None
        self.process = int(self.program.stdout.readline())

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)


@contextmanager
def storing_server(store: str) -> Iterator[StoringServer]:
    """The program, without a server at first."""
    program = subprocess.Popen(
        [sys.executable, __file__, store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
    )
    with program:
        assert program.stdout is not None
        server = StoringServer(program, int(program.stdout.readline()))
        try:
            yield server
        finally:
            if server.process:
                server.kill()
            program.kill()


def _house() -> ModuleType:
    """The stand-ins of the HTTP side's tests."""
    spec = importlib.util.spec_from_file_location("house", TESTS / "serve" / "conftest.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def _main() -> None:
    house = _house()
    from serve.api.asking.worker_pool import WorkerPool

    async def nothing(_: object) -> None:
        """Short bodies need no processes."""

    WorkerPool.start = WorkerPool.close = nothing  # type: ignore[method-assign]
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    # Nobody asks how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(_serve(house, listener.fileno(), sys.argv[1]))
            os._exit(0)
        print(child, flush=True)


async def _serve(house: Any, listener: int, store: str) -> None:
    tokenizer = house.ByteTokenizer()
    app = house.create_app(
        house.FakeEngine(plan=house.one_token_a_step(["Hello, here I am."])),
        house.Renderer(tokenizer, house.ChatTemplate(house.CHATML)),
        tokenizer,
        frozenset({tokenizer.controls["<|im_end|>"]}),
        house.ApiSettings(model_id="tiny", store=store),
        house.Metrics(),
    )
    config = house.HttpConfig()
    config.bind = [f"fd://{os.dup(listener)}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    await house.serve(app, config, shutdown_trigger=asyncio.Event().wait)


if __name__ == "__main__":
    _main()
