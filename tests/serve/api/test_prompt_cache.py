"""`prompt_cache_key`, `prompt_cache_retention`, and whom a request shares pages with."""

from typing import Any

import pytest

DAYS = {"prompt_cache_retention": "24h"}


async def test_the_engine_is_told_of_group_and_retention(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"keeps_pages": True})
    for fields, group, for_days in (
        ({}, "", False),
        ({"prompt_cache_key": None, "prompt_cache_retention": None}, "", False),
        ({"prompt_cache_key": ""}, "", False),
        ({"prompt_cache_key": "k" * 64}, "k" * 64, False),
        ({"prompt_cache_retention": "in_memory"}, "", False),
        ({"prompt_cache_retention": "in-memory"}, "", False),
        ({"prompt_cache_key": "k", **DAYS}, "k", True),
    ):
        assert (await house.post(ask(**fields))).status_code == 200
        asked = house.engine.request
        assert (asked.cache_group, asked.cached_for_days) == (group, for_days)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prompt_cache_key": "k" * 65}, "string_above_max_length"),
        ({"prompt_cache_key": 5}, "invalid_type"),
        ({"prompt_cache_retention": "48h"}, "invalid_value"),
        ({"prompt_cache_retention": 24}, "invalid_type"),
    ],
)
async def test_what_is_not_allowed(house: Any, ask: Any, fields: Any, code: str) -> None:
    response = await house.post(ask(**fields))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, *fields, code)


async def test_a_day_needs_a_directory(house: Any, ask: Any) -> None:
    response = await house.post(ask(**DAYS))
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (*DAYS, "unsupported_parameter")
    assert "--cache-dir" in error["message"]


async def scopes(house: Any, ask: Any) -> list[bytes]:
    """Of two keys, and of the first one again."""
    found: list[bytes] = []
    for key in ("one", "two", "one"):
        await house.post(ask(), authorization=f"Bearer {key}")
        found.append(house.engine.request.cache_scope)
    return found


KEYS = {"api_keys": ("one", "two")}


async def test_pages_are_shared_within_a_key(make_house: Any, ask: Any) -> None:
    first, second, again = await scopes(make_house(settings=KEYS), ask)
    assert first == again != second
    assert len(first) == len(second) == 16


async def test_keys_may_share(make_house: Any, ask: Any) -> None:
    settings = {**KEYS, "share_cache_between_keys": True}
    assert set(await scopes(make_house(settings=settings), ask)) == {b""}


async def test_without_keys_all_share(house: Any, ask: Any) -> None:
    await house.post(ask(user="me"))
    assert house.engine.request.cache_scope == b""


async def test_a_scope_is_the_same_after_a_restart_where_its_secret_is(
    make_house: Any, ask: Any
) -> None:
    """And another where it is not: nobody finds out by the scope whose it is."""
    kept = {**KEYS, "cache_scope_key": b"secret"}
    found = [await scopes(make_house(settings=each), ask) for each in (kept, kept, KEYS, KEYS)]
    assert found[0] == found[1]
    assert len({scope for each in found[1:] for scope in each}) == 6


async def test_hits_are_shown_by_tier_and_class_never_by_key(house: Any, ask: Any) -> None:
    from dataclasses import replace

    from serve.engine.types import CacheStats

    house.engine.stats = replace(
        house.engine.stats,
        cache=CacheStats(
            hits={("device", "none"): 16, ("directory", "grouped"): 48},
            host_bytes=1024,
            directory_bytes=2048,
            moved={"to_host": 3, "from_directory": 2},
            dropped=1,
            failures={"read": 4},
        ),
    )
    await house.post(ask(prompt_cache_key="my-group"))
    text = (await (await house.get("/metrics")).get_data()).decode()
    for line in (
        'hit_tokens_total{class="none",tier="device"} 16.0',
        'hit_tokens_total{class="grouped",tier="directory"} 48.0',
        'bytes{tier="host"} 1024.0',
        'bytes{tier="directory"} 2048.0',
        'moved_pages_total{direction="to_host"} 3.0',
        'moved_pages_total{direction="from_directory"} 2.0',
        "dropped_pages_total 1.0",
        'failures_total{during="read"} 4.0',
    ):
        assert f"parlance_prompt_cache_{line}\n" in text, line
    assert "my-group" not in text
