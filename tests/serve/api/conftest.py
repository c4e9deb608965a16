"""A house with a store of its own, which is closed after the test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from serve.store.store import Store


@pytest.fixture
async def storing(
    make_house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """Makes houses; keywords as `make_house` takes them."""
    made: list[Store] = []

    class Recorded(Store):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    def make(settings: Any = (), **engine: Any) -> Any:
        return make_house(
            settings={"store": str(tmp_path / "s.sqlite"), **dict(settings)}, **engine
        )

    monkeypatch.setattr("serve.app.Store", Recorded)
    yield make
    for store in made:
        await store.close()
