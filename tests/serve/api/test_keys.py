from typing import Any

import pytest


@pytest.fixture
def locked(make_house: Any) -> Any:
    return make_house(settings={"api_keys": ("first-key", "second-key")})


@pytest.mark.parametrize("header", ["Bearer first-key", "bearer second-key", "Bearer  second-key "])
async def test_accepted(locked: Any, header: str) -> None:
    assert (await locked.get("/v1/models", authorization=header)).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "first-key", "Bearer", "Bearer ", "Bearer wrong", "Basic first-key", "Bearer first-keyy",
     "Bearer é"],
)  # fmt: skip
async def test_refused(locked: Any, header: str) -> None:
    response = await locked.get("/v1/models", authorization=header)
    error = (await response.get_json())["error"]
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
async def test_open_routes(locked: Any, path: str) -> None:
    assert (await locked.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/healthy", "/metrics2", "/docs", "/openapi.json", "/nothing"])
async def test_other_routes_are_closed(locked: Any, path: str) -> None:
    assert (await locked.get(path)).status_code == 401


async def test_keys_are_not_logged(locked: Any, ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    await locked.post(ask(), authorization="Bearer first-key")
    await locked.post(ask(), authorization="Bearer wrong-key")
    assert "-key" not in caplog.text
    assert "first-key" not in repr(locked.app.config)


async def test_keys_are_not_in_the_settings_repr() -> None:
    from serve.api.settings import ApiSettings

    assert "secret" not in repr(ApiSettings(model_id="tiny", api_keys=("secret",)))
