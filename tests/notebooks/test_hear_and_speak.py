"""The notebook about sound: that it runs, and that what is shown is what was spoken and heard."""

import base64
import io
import re

import pytest
from PIL import Image
from support import notebooks
from support.espeak import needs_espeak
from support.speech import FIXTURES

NAME = "hear_and_speak.ipynb"
FIGURES = 3
UNHEARD = "names no Whisper"


@pytest.fixture(scope="module")
def committed():
    return notebooks.read(NAME)


def printed(notebook) -> str:
    return "".join(output.get("text", "") for output in notebooks.outputs(notebook))


def check(notebook, players: int) -> None:
    """The pictures are there, and the players have files."""
    found = notebooks.figures(notebook)
    assert len(found) == FIGURES
    for picture in found:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.width > 600
    (table,) = [
        each["data"]["text/html"]
        for each in notebooks.outputs(notebook)
        if "text/html" in each.get("data", {})
    ]
    files = re.findall(r"base64,([\w+/=]+)", table)
    assert len(files) == players
    assert all(base64.b64decode(each).startswith(b"OggS") for each in files)


@needs_espeak
@pytest.mark.parametrize("model", ["", str(FIXTURES / "tiny.en")])
def test_it_runs(committed, cache_home, monkeypatch, model):
    """With and without a Whisper, a tiny one that writes nonsense."""
    monkeypatch.setenv("PARLANCE_SPEECH_MODEL", model)
    reduced = {
        "SENTENCE": "'Where is it?'",
        "VOICES": "('alloy', 'fable')",
        "SPEEDS": "(1.0, 2.0)",
        "WORDS_A_SECOND": "20",
    }
    ran = notebooks.run(committed, reduced, cache_home)
    check(ran, players=3)
    assert (UNHEARD in printed(ran)) == (not model)
    assert ("of 4 are the sentence" in printed(ran)) == bool(model)


def test_its_outputs_are_of_one_run_in_order(committed):
    notebooks.check_committed(committed, size=500_000)
    check(committed, players=7)
    text = printed(committed)
    assert UNHEARD not in text
    (until, together) = re.findall(r"until ([\d.]+) s", text)
    assert float(until) < float(together)


def test_the_docs_name_it():
    assert f"notebooks/{NAME})" in (notebooks.ROOT / "README.md").read_text()
