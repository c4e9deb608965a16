import logging
import re
from typing import Any

import pytest
from support.waiting import until


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Any:
    """What the server logs: `log.lines()` are (status, complete) of its requests."""
    caplog.set_level(logging.DEBUG)
    # Of the test's own side.
    logging.getLogger("hpack").setLevel(logging.WARNING)
    return Log(caplog)


class Log:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def lines(self) -> list[tuple[int, str]]:
        found = re.compile(r"status=(\d+) complete=(\w+) ")
        texts = [r.getMessage() for r in self._caplog.records if r.name == "parlance.access"]
        return [
            (int(match[1]), match[2]) for match in map(found.search, texts) if match is not None
        ]

    async def until(self, count: int) -> list[tuple[int, str]]:
        """Lines are written a moment after the answers have gone."""
        await until(lambda: len(self.lines()) >= count)
        return self.lines()

    def clear(self) -> None:
        self._caplog.clear()

    def complaints(self) -> list[str]:
        """Warnings and worse, and all that has a traceback."""
        return [
            f"{r.name}: {r.getMessage()}"
            for r in self._caplog.records
            if r.levelno >= logging.WARNING or r.exc_info
        ]
