"""Notebooks as the tests read and run them."""

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


def read(name: str) -> Any:
    """The committed notebook."""
    return nbformat.read(ROOT / "notebooks" / name, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def figures(notebook: Any) -> list[str]:
    """Its pictures, as base64."""
    return [
        found
        for each in outputs(notebook)
        if (found := each.get("data", {}).get("image/png")) is not None
    ]


def run(committed: Any, reduced: dict[str, str], cache_home: Path) -> Any:
    """The notebook after a run with other parameters, all of which are given."""
    notebook = nbformat.from_dict(committed)
    names: list[str] = []
    for cell in code_cells(notebook):
        cell.outputs = []
        if "parameters" in cell.metadata.get("tags", ()):
            names += [line.split(" = ")[0] for line in cell.source.splitlines()]
            cell.source = "\n".join(f"{name} = {value}" for name, value in reduced.items())
    assert names == list(reduced)
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(cache_home),
    }
    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources)
    return client.execute(env=environment)


def check_committed(committed: Any, size: int) -> None:
    """Its outputs are those of one run, in order, without warnings, and small."""
    ran = [cell.execution_count for cell in code_cells(committed)]
    assert ran == list(range(1, len(ran) + 1))
    assert {output.output_type for output in outputs(committed)} == {"execute_result", "stream"}
    assert {output.get("name", "stdout") for output in outputs(committed)} == {"stdout"}
    assert len(nbformat.writes(committed)) < size
