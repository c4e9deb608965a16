"""`service_tier`: what the engine is told, what the answer names, and who may have which."""

from typing import Any

import pytest

from serve.engine.types import EngineStats, Tier, TierStats

USED = {
    "auto": Tier.DEFAULT,
    "default": Tier.DEFAULT,
    "scale": Tier.DEFAULT,
    "flex": Tier.FLEX,
    "priority": Tier.PRIORITY,
}


@pytest.mark.parametrize("asked", USED)
async def test_the_tier_reaches_the_engine_and_is_named(
    house: Any, ask: Any, read_stream: Any, asked: str
) -> None:
    body = await (await house.post(ask(service_tier=asked))).get_json()
    assert house.engine.request.tier is USED[asked]
    assert body["service_tier"] == USED[asked].label

    response = await house.post(ask(service_tier=asked, stream=True))
    chunks = read_stream(await response.get_data())
    assert house.engine.request.tier is USED[asked]
    assert {chunk["service_tier"] for chunk in chunks[:-1]} == {USED[asked].label}


async def test_who_asks_for_none_gets_default_which_is_not_named(house: Any, ask: Any) -> None:
    for fields in ({}, {"service_tier": None}):
        body = await (await house.post(ask(**fields))).get_json()
        assert house.engine.request.tier is Tier.DEFAULT
        assert "service_tier" not in body


async def test_only_some_keys_may_have_priority(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"api_keys": ("paid", "free"), "priority_keys": ("paid",)})
    wanted = {
        ("paid", "priority"): "priority",
        ("free", "priority"): "default",
        ("free", "flex"): "flex",
        ("paid", "auto"): "default",
    }
    for (key, asked), used in wanted.items():
        response = await house.post(ask(service_tier=asked), authorization=f"Bearer {key}")
        assert (await response.get_json())["service_tier"] == used
        assert house.engine.request.tier.label == used
    assert "paid" not in repr(house.app.config)


async def test_metrics_tell_of_each_tier(make_house: Any, ask: Any) -> None:
    tiers = {Tier.FLEX: TierStats(waiting=3, preemptions=5), Tier.PRIORITY: TierStats()}
    house = make_house(stats=EngineStats(tiers=tiers))
    for asked in ("flex", "flex", "priority", "scale"):
        await house.post(ask(service_tier=asked))
    text = (await (await house.get("/metrics")).get_data()).decode()
    for tier, times in (("flex", 2), ("priority", 1), ("default", 1)):
        label = f'{{tier="{tier}"}} {times}.0'
        assert f"parlance_tier_request_seconds_count{label}" in text
        assert f"parlance_tier_time_to_first_token_seconds_count{label}" in text
    assert 'parlance_engine_tier_waiting{tier="flex"} 3.0' in text
    assert 'parlance_engine_tier_waiting{tier="priority"} 0.0' in text
    assert 'parlance_engine_tier_preemptions_total{tier="flex"} 5.0' in text
