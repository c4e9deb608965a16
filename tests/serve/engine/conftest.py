"""Engines that the tests of this folder share."""

from collections.abc import Iterator

import pytest
from support.engines import engine_of
from support.quick import compiled_quickly

from serve.engine.engine import Engine


@pytest.fixture(scope="module", autouse=True)
def _quickly(quickly: None) -> None:
    pass


@pytest.fixture(scope="session")
def engines() -> Iterator[dict[bool, Engine]]:
    """A fast and a deterministic engine; the listener is set by `bridged`."""
    with compiled_quickly():
        engines = {flag: engine_of(deterministic=flag) for flag in (False, True)}
        for engine in engines.values():
            engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    yield engines
    for engine in engines.values():
        engine.stop()
