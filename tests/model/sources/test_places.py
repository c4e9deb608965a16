"""What is given as a model, and where it is then looked for."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from model.config import CheckpointError
from model.sources import places
from model.sources.catalogue import CATALOGUE, Entry
from model.sources.hub_id import HubId
from model.sources.places import Place, resolve

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, in which GGUF files are made directories of their names."""
    made = ModuleType("model.sources.gguf")

    def gguf_directory(path: Path, place: Path, *, tokenizer: bool) -> Path:
        return place / (path.name if tokenizer else f"{path.name} without a tokenizer")

    made.gguf_directory = gguf_directory  # pyright: ignore
    monkeypatch.setitem(sys.modules, "model.sources.gguf", made)
    return tmp_path / "cache"


@pytest.fixture
def asked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, HubId]]:
    """What is fetched of a hub, each as the function and the model."""
    calls: list[tuple[str, HubId]] = []

    def fetching(name: str) -> Callable[..., Path]:
        def fetch(model: HubId, *_: Any) -> Path:
            calls.append((name, model))
            return cache / "hub" / model.id / model.file

        return fetch

    for name in ("fetch_checkpoint", "fetch_config", "fetch_gguf"):
        monkeypatch.setattr(f"model.sources.hub.{name}", fetching(name))
    return calls


def gguf(path: str, head: bytes = b"GGUF\3\0\0\0") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(head)
    return Path(path)


def test_a_directory_is_what_it_is(cache: Path) -> None:
    Path("mine").mkdir()
    for given in ("mine", "./mine", str(Path("mine").absolute())):
        assert resolve(given, None) == Place(Path(given))


@pytest.mark.parametrize("name", ["smollm2", "Qwen/Qwen3-0.6B"])
def test_what_is_here_comes_first(cache: Path, asked: list[Any], name: str) -> None:
    Path(name).mkdir(parents=True)
    assert resolve(name, cache) == Place(Path(name))
    assert asked == []


def test_a_gguf_file(cache: Path) -> None:
    gguf("deep/Some-Q8_0.gguf")
    assert resolve("deep/Some-Q8_0.gguf", cache) == Place(
        cache / "gguf/Some-Q8_0.gguf", "Some-Q8_0"
    )
    gguf("a-00001-of-00002.gguf")
    assert resolve("a-00001-of-00002.gguf", cache).name == "a"
    # By what it holds, or by its name: what is wrong with it is told where it is read.
    gguf("sha256-1234")
    assert resolve("sha256-1234", cache) == Place(cache / "gguf/sha256-1234", "sha256-1234")
    gguf("broken.gguf", b"GGU")
    assert resolve("broken.gguf", cache) == Place(cache / "gguf/broken.gguf", "broken")
    alone = resolve("broken.gguf", cache, tokenizer=False)
    assert alone == Place(cache / "gguf/broken.gguf without a tokenizer", "broken")


def test_a_file_that_is_no_gguf_file_is_left_to_whoever_opens_it(cache: Path) -> None:
    for name, head in (("pointer.gguf", POINTER), ("model.safetensors", b"\x80")):
        gguf(name, head)
        assert resolve(name, cache) == Place(Path(name))


def test_a_link_to_nothing_is_here(cache: Path, asked: list[Any]) -> None:
    Path("Qwen").mkdir()
    Path("Qwen/Qwen3-0.6B").symlink_to("nothing")
    assert resolve("Qwen/Qwen3-0.6B", cache) == Place(Path("Qwen/Qwen3-0.6B"))
    assert asked == []


def test_a_name_of_the_catalogue(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(entry: Entry, place: Path) -> Path:
        assert (entry, place) == (CATALOGUE["smollm2"], cache / "catalogue")
        return place / "some-Q4_1.gguf"

    monkeypatch.setattr(places, "fetch_entry", fetch)
    assert resolve("smollm2", cache) == Place(cache / "gguf/some-Q4_1.gguf", "smollm2")


def test_a_model_on_the_hub(cache: Path, asked: list[Any]) -> None:
    here = cache / "hub/Qwen/Qwen3-0.6B"
    assert resolve("Qwen/Qwen3-0.6B@v1", None) == Place(here, "Qwen/Qwen3-0.6B")
    assert resolve("Qwen/Qwen3-0.6B", None, config_only=True) == Place(here, "Qwen/Qwen3-0.6B")
    found = resolve("Qwen/Qwen3-0.6B:d/a.gguf", cache, config_only=True)
    assert found == Place(cache / "gguf/a.gguf", "Qwen/Qwen3-0.6B")
    assert asked == [
        ("fetch_checkpoint", HubId("Qwen/Qwen3-0.6B", "v1")),
        ("fetch_config", HubId("Qwen/Qwen3-0.6B")),
        ("fetch_gguf", HubId("Qwen/Qwen3-0.6B", "", "d/a.gguf")),
    ]


@pytest.mark.parametrize("given", ["./Qwen/Qwen3-0.6B", "../Qwen/none", "/none/here", "./none"])
def test_what_is_named_as_a_path_is_nothing_else(cache: Path, asked: list[Any], given: str) -> None:
    assert resolve(given, cache) == Place(Path(given))
    assert asked == []


@pytest.mark.parametrize("given", ["smolm2", "a/b/c", "none.gguf"])
def test_what_it_is_not_is_told(cache: Path, asked: list[Any], given: str) -> None:
    with pytest.raises(CheckpointError) as refused:
        resolve(given, cache)
    assert str(refused.value) == (
        f"{given} is no directory or file here, and not in the catalogue (smollm2); give the "
        f"directory of a checkpoint, a GGUF file, a name of the catalogue, or the id of a model on "
        f"the hub, like Qwen/Qwen3-0.6B"
    )
    assert asked == []


@pytest.mark.parametrize("given", ["smollm2", "some.gguf"])
def test_a_user_without_a_home_directory(cache: Path, given: str) -> None:
    gguf("some.gguf")
    with pytest.raises(CheckpointError) as refused:
        resolve(given, None)
    assert str(refused.value) == (
        f"{given} needs a directory for what is made of it, and this user has no home directory; "
        f"set XDG_CACHE_HOME to a directory that can be written"
    )
