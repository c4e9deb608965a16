"""The notebook that compares settings: that it runs, and that what is shown is what it gave."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "compare_sampling.ipynb"
PICTURE = "docs/images/compare_sampling.png"
FIGURES = 4


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def figures(notebook) -> list[str]:
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [found for each in outputs if (found := each.get("data", {}).get("image/png"))]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_runs(committed, cache_home, tmp_path):
    """With few and short texts, and the picture elsewhere."""
    reduced = {"TEXTS": 1, "TOKENS": 8, "SEEDS": 3, "PICTURE": f"Path({str(tmp_path)!r}) / 'a.png'"}
    (parameters,) = (
        cell for cell in committed.cells if "parameters" in cell.metadata.get("tags", ())
    )
    names = [line.split(" = ")[0] for line in parameters.source.splitlines()]
    assert names == list(reduced)
    notebook = nbformat.from_dict(committed)
    for cell in code_cells(notebook):
        cell.outputs = []
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source = "\n".join(f"{name} = {value}" for name, value in reduced.items())
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(cache_home),
    }
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources)
    ran = client.execute(env=environment)
    assert len(figures(ran)) == FIGURES
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000


def test_its_outputs_are_of_one_run_in_order(committed):
    ran = [cell.execution_count for cell in code_cells(committed)]
    assert ran == list(range(1, len(ran) + 1))
    outputs = [output for cell in code_cells(committed) for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"execute_result", "stream"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert len(figures(committed)) == FIGURES
    assert NOTEBOOK.stat().st_size < 300_000


def test_the_readme_shows_its_picture():
    page = (ROOT / "README.md").read_text()
    assert f"]({PICTURE})" in page
    assert f"]({NOTEBOOK.relative_to(ROOT)})" in page
    assert (ROOT / PICTURE).stat().st_size < 250_000
