import re
from typing import Any

import pytest

ORIGIN = "https://chat.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, x-stainless-lang",
}


@pytest.mark.parametrize("path", ["/v1/models", "/nothing", "/health/live", "/metrics"])
async def test_every_response_has_them(house: Any, path: str) -> None:
    response = await house.get(path)
    assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["x-request-id"])
    assert response.headers["openai-processing-ms"].isdigit()
    assert response.headers["openai-version"] == "2020-10-01"


async def test_streams_have_them_too(house: Any, ask: Any) -> None:
    response = await house.post(ask(stream=True), x_request_id="abc-1")
    assert response.headers["x-request-id"] == "abc-1"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("a b", False),
        ("a\tb", False),
        ("é", False),
        ('"quoted"', False),
    ],
)
async def test_sane_request_ids_are_kept(house: Any, given: str, kept: bool) -> None:
    response = await house.get("/v1/models", x_request_id=given)
    assert (response.headers["x-request-id"] == given) is kept


async def test_no_cors_unless_configured(house: Any) -> None:
    response = await house.get("/v1/models", origin=ORIGIN)
    assert not any(
        name.lower().startswith("access-control") for name, _ in response.headers.items()
    )
    preflight = await house.app.test_client().options("/v1/models", headers=PREFLIGHT)
    assert preflight.status_code == 405


async def test_cors_for_a_configured_origin(make_house: Any) -> None:
    house = make_house(settings={"cors_origins": (ORIGIN,), "api_keys": ("k",)})
    response = await house.app.test_client().options("/v1/chat/completions", headers=PREFLIGHT)
    assert response.status_code == 204  # without a key: browsers send none with the question
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["Vary"] == "Origin"
    allowed = {name.strip() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {
        "Authorization",
        "Content-Encoding",
        "Content-Type",
        "x-stainless-lang",
        "x-stainless-retry-count",
    }
    assert "*" not in allowed

    refused = await house.get("/v1/models", origin=ORIGIN)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = refused.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"x-request-id", "x-parlance-no-effect"} <= set(exposed)


async def test_cors_for_another_origin(make_house: Any) -> None:
    house = make_house(settings={"cors_origins": (ORIGIN,)})
    headers = {**PREFLIGHT, "Origin": "https://evil.example"}
    response = await house.app.test_client().options("/v1/models", headers=headers)
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Access-Control-Allow-Headers" not in response.headers


async def test_cors_for_everybody(make_house: Any) -> None:
    house = make_house(settings={"cors_origins": ("*",)})
    response = await house.get("/v1/models", origin="https://any.example")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
