import re
from pathlib import Path

import pytest

from serve.api.contract import CONTRACT, Row, field_table
from serve.api.schema import ChatRequest

HERE = Path(__file__).parent


def test_every_field_has_one_row_in_the_schemas_order() -> None:
    assert [row.field for row in CONTRACT] == list(ChatRequest.model_fields)


@pytest.mark.parametrize("row", CONTRACT, ids=lambda row: row.field)
def test_every_row_names_a_test_that_exists(row: Row) -> None:
    file, _, function = row.test.partition("::")
    source = (HERE / file).read_text()
    assert re.search(rf"^(async )?def {function}\(", source, re.MULTILINE), row.test
    assert row.field in source, f"{file} does not mention {row.field}"


def test_docs_table_is_up_to_date() -> None:
    page = (HERE.parents[2] / "docs" / "api.md").read_text()
    assert field_table() in page, "run: python -m tools.make_docs"
