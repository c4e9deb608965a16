"""A house with a store of its own, which is closed after the test."""

import base64
import io
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
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


@pytest.fixture(scope="session")
def recording() -> Callable[..., dict[str, Any]]:
    """Makes parts that are a recording of so many seconds; a tone, as WAV."""

    def make(seconds: float = 0.5, rate: int = 16_000) -> dict[str, Any]:
        times = np.arange(int(seconds * rate)) / rate
        tone = (8_000 * np.sin(2 * np.pi * 440 * times)).astype("<i2")
        file = io.BytesIO()
        with wave.open(file, "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(2)
            written.setframerate(rate)
            written.writeframes(tone.tobytes())
        data = base64.b64encode(file.getvalue()).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}

    return make
