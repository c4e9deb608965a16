import logging
from typing import Any

import pytest

from serve.engine.types import EngineState


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, "parlance.access")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "parlance.access"]


async def test_one_line_for_each_request(house: Any, ask: Any, lines: Any) -> None:
    await (await house.post(ask(), x_request_id="abc-1")).get_data()
    await house.get("/nothing/secret")
    first, second = lines()
    assert first.startswith(
        "id=abc-1 method=POST route=/v1/chat/completions status=200 complete=yes "
        "prompt_tokens=21 completion_tokens=6 ms="
    )
    assert first.endswith(" caller=- metadata={}")
    assert " route=unmatched status=404 " in second
    assert "secret" not in second


async def test_streams_are_logged_at_their_end(house: Any, ask: Any, lines: Any) -> None:
    await (await house.post(ask(stream=True))).get_data()
    (line,) = lines()
    assert "status=200 complete=yes prompt_tokens=21 completion_tokens=6 " in line


async def test_caller_is_hashed(house: Any, ask: Any, lines: Any) -> None:
    for fields in (
        {"user": "ann@example.org"},
        {"safety_identifier": "ann@example.org"},
        {"user": "bob", "safety_identifier": "ann@example.org"},
        {"user": "bob"},
    ):
        await house.post(ask(**fields))
    callers = [line.split(" caller=")[1].split(" ")[0] for line in lines()]
    assert len(set(callers[:3])) == 1
    assert callers[3] != callers[0]
    assert all(len(caller) == 16 for caller in callers)
    assert "ann" not in "".join(lines())
    assert f'parlance_caller_tokens_total{{caller="{callers[0]}"}} 81.0' in (
        house.metrics.render().decode()
    )


async def test_metadata_is_logged(house: Any, ask: Any, lines: Any) -> None:
    await house.post(ask(metadata={"job": "a\nid=forged é"}))
    (line,) = lines()
    assert line.endswith('metadata={"job":"a\\nid=forged \\u00e9"}')
    assert "\n" not in line


@pytest.mark.parametrize("state", [EngineState.READY, EngineState.STARTING])
async def test_probes_are_logged_at_debug(
    make_house: Any, caplog: pytest.LogCaptureFixture, state: EngineState
) -> None:
    caplog.set_level(logging.DEBUG, "parlance.access")
    house = make_house(state=state)
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        await house.get(path)
    await house.get("/v1/models")
    await house.get("/health/nothing")
    logged = [record for record in caplog.records if record.name == "parlance.access"]
    assert [record.levelno for record in logged] == [logging.DEBUG] * 4 + [logging.INFO] * 2
