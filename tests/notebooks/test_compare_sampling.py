"""The notebook that compares settings: that it runs, and that what is shown is what it gave."""

from pathlib import Path

import pytest
from PIL import Image
from support import notebooks

NAME = "compare_sampling.ipynb"
PICTURE = "docs/images/compare_sampling.png"
FIGURES = 4


@pytest.fixture(scope="module")
def committed():
    return notebooks.read(NAME)


def test_it_runs(committed, cache_home, tmp_path):
    """With few and short texts, and the picture elsewhere."""
    picture = f"Path({str(tmp_path)!r}) / 'a.png'"
    reduced = {"TEXTS": "1", "TOKENS": "8", "SEEDS": "3", "PICTURE": picture}
    ran = notebooks.run(committed, reduced, cache_home)
    assert len(notebooks.figures(ran)) == FIGURES
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000


def test_its_outputs_are_of_one_run_in_order(committed):
    notebooks.check_committed(committed, size=300_000)
    assert len(notebooks.figures(committed)) == FIGURES


def test_the_docs_show_it_and_its_picture():
    assert f"](notebooks/{NAME})" in (notebooks.ROOT / "README.md").read_text()
    page = (notebooks.ROOT / "docs" / "sampling.md").read_text()
    assert f"](../notebooks/{NAME})" in page
    assert f"](images/{Path(PICTURE).name})" in page
    assert (notebooks.ROOT / PICTURE).stat().st_size < 250_000
