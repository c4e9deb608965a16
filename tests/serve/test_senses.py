"""Settings for sound and search that cannot be: the start ends with a sentence."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.espeak import needs_espeak

from serve.config import ServeConfig, bundled_model
from serve.senses import voices_of

# In one process: to import the server takes longer than all that follows.
STARTS = """
import json, sys
from serve.__main__ import main
for asked in json.loads(sys.argv[1]):
    try:
        main(["serve", "--port", "0", "--log-level", "error", *asked])
    except SystemExit as ended:
        print(ended.code, file=sys.stderr)
"""
VOICES = {
    "broken": ("[alloy", "is no TOML"),
    "engine": ('[alloy]\nengine = "festival"', "has engine = 'festival' in [alloy]"),
    "voice": ('[alloy]\nengine = "espeak-ng"\nvoice = "xx"', "espeak-ng has no voice 'xx'"),
    "model": ('[alloy]\nengine = "piper"\nmodel = "none.onnx"', "/none.onnx.json cannot be read"),
}
NO_ADDRESS = ("127.0.0.1:1", "ftp://searxng", "http://", "http://[::1", "http://127.0.0.1:99999")


def sentences(starts: Sequence[Sequence[str]]) -> list[str]:
    """What each start says; all end with exit code 2."""
    ended = subprocess.run(
        [sys.executable, "-c", STARTS, json.dumps(starts)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    lines = ended.stderr.splitlines()
    assert lines[1::2] == ["2"] * len(starts), ended.stderr
    assert (len(lines), ended.stdout) == (2 * len(starts), "")
    return lines[::2]


@needs_espeak
def test_what_is_not_there(tmp_path: Path) -> None:
    empty, none = tmp_path / "empty", tmp_path / "none"
    empty.mkdir()
    model = bundled_model()
    wrong = {
        ("--voices", none): f"voices {none} cannot be read",
        ("--speech-model", none): f"{none} is not a directory",
        ("--speech-model", empty): f"{empty} is empty",
        ("--speech-model", model): f"{model}/config.json names the architecture",
        ("--search-index", empty): f"there is no search index {empty}/.parlance-index.sqlite: "
        f"make one with parlance index {empty}",
        ("--search-index", none): f"there is no search index {none}: make one with parlance index ",
        ("--search-index", empty, "--search-url", "http://a"): "search_url and search_index name",
    }
    wrong |= {("--search-url", url): f"search_url is '{url}'" for url in NO_ADDRESS}
    for name, (text, fault) in VOICES.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        wrong["--voices", path] = fault
    said = sentences([list(map(str, start)) for start in wrong])
    for sentence, fault in zip(said, wrong.values(), strict=True):
        assert sentence.startswith("parlance: ")
        assert fault in sentence


@needs_espeak
def test_voices_that_were_tried_are_those_that_speak(tmp_path: Path) -> None:
    """Models take seconds to load: once."""
    path = tmp_path / "voices.toml"
    path.write_text('[alloy]\nengine = "espeak-ng"\nvoice = "de"', encoding="utf-8")
    speaker, _ = voices_of(ServeConfig(voices=str(path)))
    assert speaker is not None
    try:
        assert speaker.voices["alloy"].voice == "de"
        _, fresh = speaker._processes[0].start()
        assert not fresh
    finally:
        speaker.close()
