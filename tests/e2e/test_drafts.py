"""Predicted output through a real server: the same answers in fewer steps."""

import json
import re
from typing import Any

import httpx
import pytest

MODEL = "parlance-bundled"
TOKENS = 120
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "drawn": {"temperature": 0.8, "top_p": 0.9, "seed": 4},
    "penalized": {"temperature": 0.7, "seed": 5, "frequency_penalty": 0.6, "presence_penalty": 0.4},
    "two choices": {"temperature": 0.9, "seed": 6, "n": 2},
    "stopped": {"temperature": 0, "stop": ["."], "min_tokens": 20},
    "structured": {
        "temperature": 0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "person", "strict": True, "schema": PERSON},
        },
    },
}


def body(kind: str, **fields: Any) -> dict[str, Any]:
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Tell me of a river, a boat and a town."}],
        "max_tokens": TOKENS,
        "logprobs": True,
        "top_logprobs": 2,
        **({} if kind == "structured" else {"ignore_eos": True}),
    }
    return asked | KINDS[kind] | fields


def predicted(text: str) -> dict[str, Any]:
    return {"prediction": {"type": "content", "content": text}}


def answer(http: httpx.Client, asked: dict[str, Any]) -> dict[str, Any]:
    response = http.post("/chat/completions", json=asked)
    assert response.status_code == 200, response.text
    return response.json()


def streamed(http: httpx.Client, asked: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The text of each choice, and the usage."""
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    texts, usage = [""] * asked.get("n", 1), {}
    response = http.post("/chat/completions", json=asked | fields)
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            chunk = json.loads(line[6:])
            usage = chunk["usage"] or usage
            for choice in chunk["choices"]:
                texts[choice["index"]] += choice["delta"].get("content") or ""
    return texts, usage


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


def steps(http: httpx.Client) -> int:
    text = http.get(str(http.base_url).replace("/v1", "") + "/metrics").text
    found = re.search(r"^parlance_engine_steps_total (\S+)$", text, re.MULTILINE)
    assert found
    return int(float(found[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_changes_nothing_but_the_number_of_steps(http, kind):
    before = steps(http)
    plain = answer(http, body(kind))
    between = steps(http)
    text = plain["choices"][0]["message"]["content"]
    words = text.split(" ")
    words[len(words) // 2] += "s"
    wrong = " ".join(words)
    for prediction in (text, wrong, "nothing of the kind is said here at all"):
        asked = body(kind, **predicted(prediction))
        found = answer(http, asked)
        for mine, theirs in zip(found["choices"], plain["choices"], strict=True):
            assert mine["message"] == theirs["message"]
            assert mine["finish_reason"] == theirs["finish_reason"]
            entries = zip(mine["logprobs"]["content"], theirs["logprobs"]["content"], strict=True)
            for entry, other in entries:
                assert entry["token"] == other["token"]
                assert entry["logprob"] == pytest.approx(other["logprob"], abs=1e-3)
        texts, usage = streamed(http, asked)
        assert texts == [choice["message"]["content"] for choice in plain["choices"]]
        assert usage == found["usage"]
        details = usage["completion_tokens_details"]
        kept = plain["usage"]["completion_tokens"]
        rejected = details["rejected_prediction_tokens"]
        assert usage["completion_tokens"] == kept + rejected
        assert usage["total_tokens"] == usage["prompt_tokens"] + kept + rejected
        if prediction is text:
            # What a grammar forces nobody needs to predict.
            least = 0 if kind == "structured" else kept // 3
            assert details["accepted_prediction_tokens"] > least
    last = steps(http)
    answer(http, body(kind, **predicted(text)))
    assert steps(http) - last < between - before
