from typing import Any

import pytest

from serve.api.wire.response import Health
from serve.engine.types import EngineState


@pytest.mark.parametrize("path", ["/health/ready", "/health"])
async def test_ready(house: Any, path: str) -> None:
    response = await house.get(path)
    assert response.status_code == 200
    body = await response.get_json()
    Health.model_validate(body)
    assert body == {"status": "ready", "model": "tiny", "running": 3, "waiting": 2}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (EngineState.STARTING, "not_ready"),
        (EngineState.DRAINING, "draining"),
        (EngineState.DEAD, "engine_dead"),
    ],
)
async def test_not_ready(make_house: Any, state: EngineState, code: str) -> None:
    house = make_house(state=state)
    for path in ("/health/ready", "/health"):
        response = await house.get(path)
        assert response.status_code == 503
        assert (await response.get_json())["error"]["code"] == code
        assert "Retry-After" in response.headers
    assert (await house.get("/health/live")).status_code == 200
