"""The page of limits, and that it is up to date."""

import json
import re
from pathlib import Path

from serve.api.wire.request import ChatRequest
from serve.setting_names import flag_name, settings
from tools.limits import fields_table, fixed_table, settings_table
from tools.make_docs import bring_up_to_date

ROOT = Path(__file__).parents[2]


def test_every_generated_part_of_the_documentation_is_up_to_date() -> None:
    assert bring_up_to_date(ROOT, write=False) == [], "run: python -m tools.make_docs"


def test_every_setting_that_limits_is_on_the_page_with_what_is_beyond_it_and_why() -> None:
    table = settings_table()
    limits = [name for name, (_, explained) in settings().items() if explained.group == "Limits"]
    assert len(limits) >= 5
    for name in limits:
        explained = settings()[name][1]
        assert explained.beyond, name
        assert explained.why, name
        assert f"`{flag_name(name)}`" in table


def test_every_bound_of_the_schema_is_on_the_page() -> None:
    table = fields_table()
    schema = json.dumps(ChatRequest.model_json_schema())
    values = set(map(int, re.findall(r'"max(?:Items|Length|Properties)": (\d+)', schema)))
    told = {int(value.replace(",", "")) for value in re.findall(r"` \| ([\d,]+) ", table)}
    assert told == values
    assert "| `messages` | 2,048 entries | 400 `array_above_max_length` |" in table
    assert "| `metadata.*` | 512 characters |" in table


def test_what_is_fixed_has_a_value_an_answer_and_a_reason() -> None:
    rows = [row.split(" | ") for row in fixed_table().splitlines()[2:]]
    assert len(rows) >= 15
    assert all(len(row) == 4 and all(cell.strip("| ") for cell in row) for row in rows)
