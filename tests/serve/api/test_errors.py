from typing import Any

import pytest

from serve.api.wire.response import ErrorBody
from serve.engine.types import EngineState, EngineUnavailableError, QueueFullError, TokenEvent


async def error_of(response: Any) -> dict[str, Any]:
    body = await response.get_json()
    ErrorBody.model_validate(body)
    return body["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/models/", 404, "not_found"),
        ("POST", "/v1/completions", 404, "not_found"),
        ("POST", "/v1/chat/completions/", 404, "not_found"),
        ("POST", "/v1//chat/completions", 404, "not_found"),
        ("POST", "/v1/chat//completions", 404, "not_found"),
        ("POST", "/v1/%2Fchat/completions", 404, "not_found"),
        ("GET", "/v1//models", 404, "not_found"),
        ("HEAD", "/v1//models", 404, "not_found"),
        ("GET", "/v1/models//tiny", 404, "not_found"),
        ("GET", "/health//live", 404, "not_found"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/chat/completions", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
    ],
)
async def test_unknown_routes_and_methods(
    house: Any, method: str, path: str, status: int, code: str
) -> None:
    response = await house.app.test_client().open(path, method=method)
    error = await error_of(response)
    assert response.status_code == status
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, code)
    assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"],
)
async def test_body_must_be_json(house: Any, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await house.app.test_client().post(
        "/v1/chat/completions", data=b"{}", headers=headers
    )
    error = await error_of(response)
    assert response.status_code == 415
    assert error["code"] == "unsupported_media_type"
    assert "application/json" in error["message"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=UTF-8", "application/x+json"]
)
async def test_json_goes_by_several_names(house: Any, ask: Any, content_type: str) -> None:
    client = house.app.test_client()
    data = b'{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}'
    response = await client.post(
        "/v1/chat/completions", data=data, headers={"Content-Type": content_type}
    )
    assert response.status_code == 200


async def test_body_over_the_limit(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"max_body_bytes": 1000})
    response = await house.post(ask(user="x" * 2000))
    error = await error_of(response)
    assert response.status_code == 413
    assert error["code"] == "request_too_large"
    assert "1000 bytes" in error["message"]


async def test_full_queue(make_house: Any, ask: Any) -> None:
    house = make_house(refuse=QueueFullError(64, 64, 3))
    response = await house.post(ask())
    error = await error_of(response)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "3"
    assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (EngineState.STARTING, "not_ready"),
        (EngineState.DRAINING, "draining"),
        (EngineState.DEAD, "engine_dead"),
    ],
)
async def test_engine_not_there(make_house: Any, ask: Any, state: EngineState, code: str) -> None:
    house = make_house(state=state, settings={"retry_after_seconds": 9})
    response = await house.post(ask())
    error = await error_of(response)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "9"
    assert (error["type"], error["code"]) == ("server_error", code)


async def test_engine_dies_meanwhile(make_house: Any, ask: Any) -> None:
    dead = EngineUnavailableError(EngineState.DEAD)
    response = await make_house(plan=lambda _: [[TokenEvent(0, 65)], dead]).post(ask())
    assert response.status_code == 503
    assert (await error_of(response))["code"] == "engine_dead"


async def test_unforeseen_fault_names_the_request_only(
    make_house: Any, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    house = make_house(plan=lambda _: [ZeroDivisionError("inside knowledge")])
    response = await house.post(ask(), x_request_id="my-request")
    error = await error_of(response)
    assert response.status_code == 500
    assert error["type"] == "server_error"
    assert "my-request" in error["message"]
    assert "inside" not in error["message"]
    assert "inside knowledge" in caplog.text
