from typing import Any

import pytest

REFUSED: list[tuple[str, Any]] = [
    ("frequency_penalty", 0.5),
    ("frequency_penalty", "0"),
    ("presence_penalty", -1),
    ("presence_penalty", False),
    ("logit_bias", {"1": 5}),
    ("logit_bias", []),
    ("logprobs", True),
    ("logprobs", 0),
    ("top_logprobs", 5),
    ("top_logprobs", 0),
    ("tools", []),
    ("tools", [{"type": "function", "function": {"name": "f"}}]),
    ("tool_choice", "auto"),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}),
    ("parallel_tool_calls", True),
    ("functions", [{"name": "f"}]),
    ("function_call", "auto"),
    ("prediction", {"type": "content", "content": "x"}),
    ("prompt_cache_key", "k"),
    ("prompt_cache_retention", "24h"),
    ("reasoning_effort", "low"),
    ("verbosity", "low"),
    ("store", True),
    ("audio", {"voice": "alloy", "format": "wav"}),
    ("web_search_options", {}),
    ("top_k", 5),
    ("top_k", "0"),
    ("min_p", 0.1),
    ("min_tokens", 3),
    ("ignore_eos", True),
    ("ignore_eos", 0),
]

NEUTRAL: list[tuple[str, Any]] = [
    *((name, None) for name in dict(REFUSED)),
    ("frequency_penalty", 0),
    ("presence_penalty", 0.0),
    ("logit_bias", {}),
    ("logprobs", False),
    ("tool_choice", "none"),
    ("function_call", "none"),
    ("store", False),
    ("top_k", 0),
    ("min_p", 0.0),
    ("min_tokens", 0),
    ("ignore_eos", False),
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
