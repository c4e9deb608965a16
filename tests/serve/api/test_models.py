import json
import re
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from serve.api.wire.response import ModelList, ModelObject


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_list(house: Any, prefix: str) -> None:
    body = await (await house.get(f"{prefix}/models")).get_json()
    ModelList.model_validate(body)
    assert [(m["id"], m["created"], m["owned_by"]) for m in body["data"]] == [
        ("tiny", 1_700_000_000, "parlance"),
        ("gpt-4o", 1_700_000_000, "parlance"),
    ]


@pytest.mark.parametrize("name", ["tiny", "gpt-4o"])
async def test_retrieve(house: Any, name: str) -> None:
    body = await (await house.get(f"/v1/models/{name}")).get_json()
    ModelObject.model_validate(body)
    assert body["id"] == name


async def test_what_holds_where_requests_are_silent(make_house: Any) -> None:
    neutral = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}
    for settings, told in (
        ({}, (neutral, None)),
        (
            {"sampling_defaults": neutral | {"top_k": 20}, "max_answer_tokens": 9},
            (neutral | {"top_k": 20}, 9),
        ),
    ):
        body = await (await make_house(settings=settings).get("/v1/models")).get_json()
        ModelList.model_validate(body)
        first = body["data"][0]
        assert (first["sampling_defaults"], first["max_answer_tokens"]) == told


async def test_names_may_have_slashes(make_house: Any) -> None:
    house = make_house(settings={"model_id": "org/Model-1.5"})
    for path in ("org/Model-1.5", "org%2FModel-1.5", "org%2fModel%2D1.5"):
        response = await house.get(f"/v1/models/{path}")
        assert response.status_code == 200
        assert (await response.get_json())["id"] == "org/Model-1.5"
    assert (await house.get("/v1/models/Model-1.5")).status_code == 404


async def test_the_official_client_asks_for_names_with_slashes(
    make_house: Any, ask: Any, listening: Any
) -> None:
    name = "org/Model-1.5"
    house = make_house(settings={"model_id": name})
    async with (
        listening(house.app) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        httpx.AsyncClient(trust_env=False) as plain,
    ):
        assert [model.id async for model in client.models.list()] == [name, "gpt-4o"]
        assert (await client.models.retrieve(name)).id == name
        for path in (name, "org%2FModel-1.5"):
            assert (await plain.get(f"{url}/models/{path}")).json()["id"] == name
        answer = await client.chat.completions.create(**ask(model=name))
        assert answer.model == name


async def test_unserved_model_is_404(house: Any, ask: Any) -> None:
    for response in (await house.post(ask(model="gpt-9")), await house.get("/v1/models/gpt-9")):
        error = (await response.get_json())["error"]
        assert response.status_code == 404
        assert (error["param"], error["code"]) == ("model", "model_not_found")
        assert "gpt-9" in error["message"]


ADAPTERS = {"sql": "/models/sql", "org/fun": "fun"}


async def test_adapters_are_models_of_their_own(make_house: Any) -> None:
    house = make_house(settings={"adapters": ADAPTERS})
    body = await (await house.get("/v1/models")).get_json()
    ModelList.model_validate(body)
    assert [(m["id"], m["root"], m["parent"]) for m in body["data"]] == [
        ("tiny", "tiny", None),
        ("gpt-4o", "tiny", None),
        ("sql", "/models/sql", "tiny"),
        ("org/fun", "fun", "tiny"),
    ]
    one = await (await house.get("/v1/models/org/fun")).get_json()
    assert one == body["data"][3]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "number", "told"),
    [
        ("tiny", None, "tiny"),
        ("gpt-4o", None, "tiny"),
        ("sql", 0, "sql"),
        ("org/fun", 1, "org/fun"),
    ],
)
async def test_an_answer_is_of_the_adapter_that_was_asked_for(
    make_house: Any,
    ask: Any,
    *,
    stream: bool,
    name: str,
    number: int | None,
    told: str,
) -> None:
    house = make_house(settings={"adapters": ADAPTERS})
    response = await house.post(ask(model=name, stream=stream))
    data = (await response.get_data()).decode()
    assert response.status_code == 200, data
    assert house.engine.request.adapter == number
    objects = [each[6:] for each in data.split("\n\n") if each.startswith("data: {")]
    assert {json.loads(each)["model"] for each in (objects if stream else [data])} == {told}
    text = (await (await house.get("/metrics")).get_data()).decode()
    counted = re.findall(r'parlance_adapter_tokens_total\{adapter="(.*)"\} (\S+)', text)
    assert counted == ([] if number is None else [(name, "27.0")])


async def test_the_404_names_the_adapters(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"adapters": ADAPTERS})
    error = (await (await house.post(ask(model="gpt-9"))).get_json())["error"]
    assert error["code"] == "model_not_found"
    assert "This server has 'tiny', 'sql', 'org/fun'; see /v1/models." in error["message"]
