"""The notebook about grammars: that it runs, and that what is shown is what it gave."""

import base64
import io
import json
import re

import jsonschema
import pytest
from PIL import Image
from support import notebooks

NAME = "structured_output.ipynb"
FIGURES = 5
REPLY = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def committed():
    return notebooks.read(NAME)


def printed(notebook) -> str:
    return "".join(output.get("text", "") for output in notebooks.outputs(notebook))


def check(notebook) -> None:
    """The pictures are there, and the answer that was held to the schema is valid under it."""
    found = notebooks.figures(notebook)
    assert len(found) == FIGURES
    for picture in found:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.width > 600
    (answer,) = re.findall(r'^\{"answer".*\}$', printed(notebook), re.MULTILINE)
    jsonschema.validate(json.loads(answer), REPLY)


def test_it_runs(committed, cache_home):
    reduced = {"ROUNDS": "1", "TOKENS": "4", "ROWS": "(1, 2)"}
    check(notebooks.run(committed, reduced, cache_home))


def test_its_outputs_are_of_one_run_in_order(committed):
    notebooks.check_committed(committed, size=300_000)
    check(committed)


def test_the_docs_name_it():
    for page in ("README.md", "docs/structured-output.md"):
        assert f"notebooks/{NAME})" in (notebooks.ROOT / page).read_text()
