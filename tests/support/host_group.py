"""One server in several processes on this machine, each with a CPU device of its own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.server_process import START_SECONDS, ServerProcess, spawn_server

# What the loss of one process may take to end the others.
LOSS_SECONDS = 30


@dataclass
class HostGroup:
    """The processes of a server.

    Attributes:
        members: process 0, which serves, and its followers.
    """

    members: list[ServerProcess]

    @property
    def server(self) -> ServerProcess:
        return self.members[0]

    @property
    def output(self) -> str:
        return "\n".join(self.text(index) for index in range(len(self.members)))

    def text(self, index: int) -> str:
        """What a process has printed."""
        return "".join(self.members[index].lines)

    def exit_codes(self, seconds: float = LOSS_SECONDS) -> list[int]:
        """Wait for all to end."""
        return [member.process.wait(seconds) for member in self.members]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def spawned_group(
    cache: Path, flags_of: list[list[str]], count: int = 0, before: str = ""
) -> Iterator[HostGroup]:
    """A process for each list of flags; none of them outlives the block.

    Args:
        cache: for compiled programs.
        flags_of: the flags of each.
        count: how many processes there should be, if not as many.
        before: code that each runs first.
    """
    together = ["--coordinator", f"127.0.0.1:{_free_port()}"]
    together += ["--num-processes", str(count or len(flags_of))]
    group = HostGroup([])
    try:
        for index, flags in enumerate(flags_of):
            own = ["--process-id", str(index), *flags]
            group.members.append(spawn_server(cache, *together, *own, before=before))
        yield group
    finally:
        for member in group.members:
            member.process.kill()
            member.process.wait()
            member.reader.join(10)
            member.process.stdout.close()
            member.data.cleanup()


@contextmanager
def running_group(cache: Path, count: int, *flags: str) -> Iterator[HostGroup]:
    """So many processes, ready to answer."""
    with spawned_group(cache, [list(flags)] * count) as group:
        for member in group.members:
            member.settled.wait(START_SECONDS)
        assert group.server.url, group.output
        yield group
