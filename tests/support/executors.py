"""Executors that do on the caller's thread what threads would do, when a test says so."""

from collections.abc import Callable
from concurrent.futures import Executor, Future


class Later(Executor):
    """Keeps what is submitted until `run`."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def submit(self, function, /, *args, **kwargs):
        self.waiting.append(lambda: function(*args, **kwargs))
        return Future()

    def run(self, most: int = 1_000_000) -> None:
        """Do the first of what waits, and what that submits."""
        while self.waiting and most:
            self.waiting.pop(0)()
            most -= 1


class AtOnce(Later):
    """Does at once what is submitted."""

    def submit(self, function, /, *args, **kwargs):
        done = super().submit(function, *args, **kwargs)
        self.run()
        return done
