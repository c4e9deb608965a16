"""For whom a request counts."""

from typing import Any

from serve.api.http.callers import Caller


def test_a_key_counts_before_a_name_and_a_name_before_an_address() -> None:
    assert Caller("abc", "::1").counted("me") == "key abc"
    assert Caller(None, "::1").counted("me") == "user me"
    assert Caller(None, "::1").counted() == "address ::/64"


async def test_the_engine_is_told_who_asks(make_house: Any, ask: Any) -> None:
    open_house = make_house()
    await open_house.post(ask())
    assert open_house.engine.request.caller.startswith("address ")
    await open_house.post(ask(user="me"))
    assert open_house.engine.request.caller == "user me"
    await open_house.post(ask(user="me", safety_identifier="you"))
    assert open_house.engine.request.caller == "user you"

    locked = make_house(settings={"api_keys": ("one", "two")})
    callers: list[str] = []
    for key in ("one", "two", "one"):
        await locked.post(ask(user="me"), authorization=f"Bearer {key}")
        callers.append(locked.engine.request.caller)
    assert callers[0] == callers[2] != callers[1]
    assert all(each.startswith("key ") and "one" not in each for each in callers)
