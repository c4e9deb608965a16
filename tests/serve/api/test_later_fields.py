from typing import Any

import pytest

REFUSED: list[tuple[str, Any]] = [
    ("audio", {"voice": "alloy", "format": "wav"}),
    ("web_search_options", {}),
]

NEUTRAL: list[tuple[str, Any]] = [
    *((name, None) for name in dict(REFUSED)),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
async def test_is_refused_unless_neutral(house: Any, ask: Any, name: str, value: Any) -> None:
    response = await house.post(ask(**{name: value}))
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")
    assert name in error["message"]


@pytest.mark.parametrize(("name", "value"), NEUTRAL)
async def test_neutral_value_is_accepted(house: Any, ask: Any, name: str, value: Any) -> None:
    assert (await house.post(ask(**{name: value}))).status_code == 200
