"""Rate limits: what is counted, whose it is, and what is told of it. Time is the test's own."""

from dataclasses import dataclass
from typing import Any

import pytest

from serve.api.exchange import Exchange
from serve.api.http.rate_limits import RateLimits
from serve.api.wire.errors import ApiError
from serve.api.wire.response import ErrorBody


@dataclass
class Clock:
    now: float = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the library takes for the time."""
    clock = Clock()
    monkeypatch.setattr("throttled.utils.now_mono_f", lambda: clock.now)
    return clock


def told(exchange: Exchange, kind: str) -> tuple[str, ...]:
    names = (f"x-ratelimit-{what}-{kind}" for what in ("limit", "remaining", "reset"))
    return tuple(exchange.headers[name] for name in names)


def refused(take: Any, *arguments: Any) -> tuple[str, str, int]:
    with pytest.raises(ApiError) as caught:
        take(*arguments)
    error = caught.value
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    return error.type, error.message, int(error.headers["Retry-After"])


def exchange() -> Exchange:
    return Exchange("id", "POST")


def test_requests_come_back_evenly(clock: Clock) -> None:
    limits = RateLimits((3, 1000))
    for left, reset in ((2, "20.000s"), (1, "40.000s"), (0, "60.000s")):
        limits.take_request("a", one := exchange())
        assert told(one, "requests") == ("3", str(left), reset)
    kind, message, seconds = refused(limits.take_request, "a", one := exchange())
    assert (kind, seconds) == ("requests", 20)
    assert message == (
        "Rate limit reached on requests per minute: the limit is 3, and 1 more would be too many "
        "now. Try again in 20 s."
    )
    assert told(one, "requests") == ("3", "0", "60.000s")
    limits.take_request("b", exchange())
    clock.now += 20
    limits.take_request("a", exchange())
    refused(limits.take_request, "a", exchange())


def test_a_prompt_counts_at_once_and_an_answer_at_its_end(clock: Clock) -> None:
    limits = RateLimits((100, 600))
    limits.take_request("a", one := exchange())
    limits.take_prompt("a", 100, one)
    assert told(one, "tokens") == ("600", "500", "10.000s")
    one.completion_tokens = 50
    one.close()
    limits.take_request("a", one := exchange())
    assert told(one, "tokens") == ("600", "450", "15.000s")
    # Ten tokens come back in a second.
    assert refused(limits.take_prompt, "a", 500, exchange())[::2] == ("tokens", 5)
    clock.now += 5
    limits.take_prompt("a", 500, one)


def test_what_an_answer_takes_beyond_the_limit_is_owed(clock: Clock) -> None:
    limits = RateLimits((100, 600))
    limits.take_prompt("a", 100, one := exchange())
    one.completion_tokens = 800
    one.close()
    # 300 are owed, and one more must be there.
    kind, _, seconds = refused(limits.take_request, "a", one := exchange())
    assert (kind, seconds) == ("tokens", 31)
    assert told(one, "tokens") == ("600", "0", "90.000s")
    clock.now += 30
    refused(limits.take_request, "a", exchange())
    clock.now += 1
    limits.take_request("a", one := exchange())
    assert told(one, "tokens") == ("600", "10", "59.000s")


def test_a_prompt_of_more_than_a_minute_waits_for_a_whole_one_and_owes_the_rest(
    clock: Clock,
) -> None:
    limits = RateLimits((100, 600))
    limits.take_prompt("a", 1, exchange())
    assert refused(limits.take_prompt, "a", 900, exchange())[2] == 1
    clock.now += 1
    limits.take_prompt("a", 900, exchange())
    assert refused(limits.take_prompt, "a", 1, exchange())[2] == 31


def test_over_an_hour_nobody_gets_more_than_the_limit(clock: Clock) -> None:
    """However long the answers, and though it asks every second."""
    limits = RateLimits((10_000, 600))
    used = 0
    for second in range(3600):
        clock.now += 1
        one = exchange()
        try:
            limits.take_request("a", one)
            limits.take_prompt("a", 30, one)
        except ApiError:
            continue
        one.completion_tokens = 7 * (second % 100)
        one.close()
        used += 30 + one.completion_tokens
    # The minute's that it begins with, 60 more, and the debt of the last answer.
    assert 600 * 59 <= used <= 600 * 61 + 723


async def test_answers_tell_of_the_limits_and_a_refusal_says_when(
    make_house: Any, ask: Any, clock: Clock
) -> None:
    house = make_house(settings={"rate_limit": (3, 1000)})
    plain = await house.post(ask())
    assert plain.status_code == 200
    assert plain.headers["x-ratelimit-remaining-requests"] == "2"
    # The prompt has 21 tokens; the answer's six come after its headers.
    assert plain.headers["x-ratelimit-remaining-tokens"] == "979"
    stream = await house.post(ask(stream=True))
    await stream.get_data()
    assert stream.headers["x-ratelimit-remaining-tokens"] == str(979 - 6 - 21)
    wrong = await house.post(ask(temperature=9))
    assert (wrong.status_code, wrong.headers["x-ratelimit-remaining-requests"]) == (400, "0")
    refusal = await house.post(ask())
    error = ErrorBody.model_validate(await refusal.get_json()).error
    assert refusal.status_code == 429
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
    assert refusal.headers["Retry-After"] == "20"
    assert refusal.headers["x-ratelimit-reset-requests"] == "60.000s"
    assert (await house.get("/v1/models")).status_code == 200
    clock.now += 20
    assert (await house.post(ask())).status_code == 200


async def test_a_refused_prompt_never_reaches_the_engine(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"rate_limit": (100, 30)})
    assert (await house.post(ask())).status_code == 200
    assert (await (await house.post(ask())).get_json())["error"]["type"] == "tokens"
    assert len(house.engine.generations) == 1


async def test_limits_are_those_of_a_key_whatever_user_it_names(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"rate_limit": (1, 1000), "api_keys": ("one", "two")})
    statuses = [
        (await house.post(ask(user=user), authorization=f"Bearer {key}")).status_code
        for key, user in (("one", "a"), ("one", "b"), ("two", "a"), ("two", "b"))
    ]
    assert statuses == [200, 429, 200, 429]


async def test_without_limits_nothing_is_told(house: Any, ask: Any) -> None:
    response = await house.post(ask())
    assert not [name for name, _ in response.headers.items() if name.startswith("x-ratelimit")]
