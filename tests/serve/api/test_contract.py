import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sampling.params import SamplingParams
from serve.api.wire.contract import CONTRACT
from serve.api.wire.contract_row import Row
from serve.api.wire.contract_tables import controls_table, field_table
from serve.api.wire.request import ChatRequest
from tools.make_docs import with_part

TESTS = Path(__file__).parents[2]


def test_every_field_has_one_row_in_the_schemas_order() -> None:
    assert [row.field for row in CONTRACT] == list(ChatRequest.model_fields)


@pytest.mark.parametrize("row", CONTRACT, ids=lambda row: row.field)
def test_every_row_names_a_test_that_exists(row: Row) -> None:
    file, _, function = row.test.partition("::")
    source = (TESTS / file).read_text()
    assert re.search(rf"^(async )?def {function}\(", source, re.MULTILINE), row.test
    assert row.field in source, f"{file} does not mention {row.field}"


def test_docs_table_is_up_to_date() -> None:
    page = (TESTS.parent / "docs" / "api.md").read_text()
    assert field_table() in page, "run: python -m tools.make_docs"


def test_the_table_of_controls_is_up_to_date() -> None:
    page = (TESTS.parent / "docs" / "sampling.md").read_text()
    assert controls_table() in page, "run: python -m tools.make_docs"


def test_controls_are_listed_in_the_order_of_the_rules() -> None:
    lines = controls_table().splitlines()[2:]
    order = [line.split(" | ")[:2] for line in lines]
    assert [name.strip("`") for _, name in order] == [
        *("logprobs", "top_logprobs", "logit_bias", "repetition_penalty"),
        *("frequency_penalty", "presence_penalty"),
        *("min_tokens", "ignore_eos", "temperature", "top_k", "top_p", "min_p", "seed"),
    ]
    assert [int(step.removeprefix("| ")) for step, _ in order] == [
        *(1, 1, 2, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10)
    ]


def test_every_setting_of_the_sampler_is_a_control() -> None:
    controls = {row.field for row in CONTRACT if row.step}
    settings = {field.name for field in fields(SamplingParams)}
    # Which tokens end an answer is no affair of its distribution.
    assert controls == settings - {"stop_ids"} | {"top_logprobs"}


@pytest.mark.parametrize(
    "row", [row for row in CONTRACT if row.step and row.field != "seed"], ids=lambda row: row.field
)
async def test_the_default_of_a_control_is_neutral(house: Any, ask: Any, row: Row) -> None:
    needs = {"logprobs": True} if row.field == "top_logprobs" else {}
    for sent in ({}, {row.field: None}, {row.field: json.loads(row.default)}):
        assert (await house.post(ask(seed=0, **needs, **sent))).status_code == 200
        assert house.engine.request.sampling == SamplingParams(**needs)


def test_a_page_without_a_place_for_its_part_is_told() -> None:
    with pytest.raises(ValueError, match="put the lines <!-- x:begin --> and <!-- x:end -->"):
        with_part("text", "x", "new")
    page = with_part("a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb", "x", "new")
    assert page == "a\n<!-- x:begin -->\n\nnew\n<!-- x:end -->\nb"
