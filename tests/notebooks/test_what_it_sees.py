"""The notebook about pictures: that it runs, and that what is shown is what the model answered."""

import base64
import io

import pytest
from PIL import Image
from support import notebooks

NAME = "what_it_sees.ipynb"
FIGURES = 3


@pytest.fixture(scope="module")
def committed():
    return notebooks.read(NAME)


def check(notebook) -> None:
    """The pictures are there, and the picture's own shapes are named."""
    found = notebooks.figures(notebook)
    assert len(found) == FIGURES
    for picture in found:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.width > 600
    printed = "".join(output.get("text", "") for output in notebooks.outputs(notebook))
    assert "A red circle , a blue square and a yellow triangle ." in printed


def test_it_runs(committed, cache_home):
    check(notebooks.run(committed, {"PICTURES": "20", "ASKED": "2"}, cache_home))


def test_its_outputs_are_of_one_run_in_order(committed):
    notebooks.check_committed(committed, size=300_000)
    check(committed)


def test_the_docs_name_it():
    assert f"notebooks/{NAME})" in (notebooks.ROOT / "README.md").read_text()
