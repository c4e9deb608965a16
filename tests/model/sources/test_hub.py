"""Models are fetched from a hub on this machine, by the hub's own client.

Each client is a process of its own, since it reads its variables when it is imported.
"""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from support.hub_server import Hub, hub_server

from model.config import CheckpointError
from model.sources import hub as client
from model.sources.hub_id import HubId

MODEL = "some-org/Some-Model"
WEIGHTS = bytes(range(256)) * 4096
READ: Mapping[str, bytes] = {
    "LICENSE": b"Apache",
    "additional_chat_templates/tool_use.jinja": b"{{ tools }}",
    "chat_template.jinja": b"{{ messages }}",
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "generation_config.json": b"{}",
    "merges.txt": b"a b",
    "model.safetensors": WEIGHTS,
    "preprocessor_config.json": b"{}",
    "processor_config.json": b"{}",
    "special_tokens_map.json": b"{}",
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "vocab.json": b"{}",
}
BESIDE: Mapping[str, bytes] = {
    ".gitattributes": b"*",
    "README.md": b"# Some Model",
    "consolidated.safetensors": WEIGHTS,
    "model.Q8_0.gguf": b"GGUF",
    "onnx/model.onnx": b"onnx",
    "onnx/model.safetensors": WEIGHTS,
    "original/consolidated.00.pth": b"PK",
    "pytorch_model.bin": b"\x80",
    "training_args.bin": b"PK",
}

_FETCH = """
import json, sys
from model.config import CheckpointError
from model.sources import hub
from model.sources.hub_id import parse_hub_id

def check(directory):
    if b"Llama" not in (directory / "config.json").read_bytes():
        raise CheckpointError("no Llama")

asked, how = parse_hub_id(sys.argv[1]), sys.argv[2]
try:
    if how == "gguf":
        place = hub.fetch_gguf(asked)
    else:
        place = getattr(hub, f"fetch_{how}")(asked, check)
    print(json.dumps({"place": str(place)}))
except CheckpointError as error:
    print(json.dumps({"refused": str(error)}))
"""


class Fetched(NamedTuple):
    """What came of it.

    Attributes:
        place: that was found, if any.
        refused: what was said else.
        err: standard error.
    """

    place: Path
    refused: str
    err: str

    @property
    def files(self) -> dict[str, bytes]:
        """All files there, by their path."""
        return {
            path.relative_to(self.place).as_posix(): path.read_bytes()
            for path in self.place.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as running:
        yield running


def fetch(hub: Hub, home: Path, model: str, how: str = "checkpoint", **variables: str) -> Fetched:
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", _FETCH, model, how],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[3])} | variables,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    return Fetched(Path(told.get("place", "none")), told.get("refused", ""), ended.stderr)


def test_what_is_read_is_fetched_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    commit = hub.publish(MODEL, {**READ, **BESIDE})
    found = fetch(hub, tmp_path, MODEL)
    assert found.place == tmp_path / "hub" / "models--some-org--Some-Model" / "snapshots" / commit
    assert found.files == READ
    # No bar where there is no terminal.
    assert found.err == ""
    assert {request.authorization for request in hub.requests} == {""}
    hub.requests.clear()
    assert fetch(hub, tmp_path, MODEL).place == found.place
    assert hub.fetched() == []


def test_all_shards_are_fetched(hub: Hub, tmp_path: Path) -> None:
    shards = {f"model-0000{part}-of-00002.safetensors": b"%d" % part for part in (1, 2)}
    index = {"model.safetensors.index.json": b"{}"}
    hub.publish(MODEL, {"config.json": READ["config.json"], **shards, **index})
    found = fetch(hub, tmp_path, MODEL)
    assert found.files == {"config.json": READ["config.json"], **shards, **index}


def test_a_revision(hub: Hub, tmp_path: Path) -> None:
    first = hub.publish(MODEL, {**READ, "model.safetensors": b"first"}, "v1.0")
    second = hub.publish(MODEL, READ)
    for revision, commit, weights in (
        ("@v1.0", first, b"first"),
        (f"@{first}", first, b"first"),
        ("@main", second, WEIGHTS),
        ("", second, WEIGHTS),
    ):
        found = fetch(hub, tmp_path, MODEL + revision)
        assert found.place.name == commit
        assert found.files["model.safetensors"] == weights
    unknown = fetch(hub, tmp_path, f"{MODEL}@v2.0")
    assert unknown.refused == (
        f"{MODEL} has no revision v2.0; give a branch, a tag or a whole commit of it behind the @, "
        f"like {MODEL}@main"
    )


def test_a_model_that_is_not_there_or_private(hub: Hub, tmp_path: Path) -> None:
    hub.publish(MODEL, READ)
    hub.private.add(MODEL)
    for model in ("some-org/none", MODEL):
        assert fetch(hub, tmp_path, model).refused == (
            f"{model} is no directory here, and on the hub no model that you may see (HTTP 401); "
            f"correct the name, or set HF_TOKEN to a token that may read it if it is private"
        )
    found = fetch(hub, tmp_path, MODEL, HF_TOKEN=hub.token)
    assert found.files == READ


def test_a_token_that_the_hub_does_not_know(hub: Hub, tmp_path: Path) -> None:
    hub.publish(MODEL, READ)
    assert fetch(hub, tmp_path, MODEL, HF_TOKEN="hf_old").refused == (
        "the hub does not know the token (HTTP 401); correct HF_TOKEN, or unset it"
    )


def test_a_gated_model(hub: Hub, tmp_path: Path) -> None:
    hub.publish(MODEL, READ)
    hub.gated.add(MODEL)
    assert fetch(hub, tmp_path, MODEL).refused == (
        f"{MODEL} is given only to those who have accepted its licence; do so at {hub.url}/{MODEL}"
        f", and set HF_TOKEN to a token of the same account"
    )
    assert fetch(hub, tmp_path, MODEL, HF_TOKEN=hub.token).files == READ


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    # The client writes in pieces of 10 MiB, and takes up behind the last.
    files = {**READ, "model.safetensors": WEIGHTS * 24}
    hub.publish(MODEL, files)
    hub.breaks.add("model.safetensors")
    assert fetch(hub, tmp_path, MODEL).files == files
    asked = [
        request.range
        for request in hub.requests
        if request.method == "GET" and request.path.endswith("/model.safetensors")
    ]
    assert asked == ["", f"bytes={10 * 2**20}-"]


def test_weights_are_not_fetched_of_what_cannot_be_served(hub: Hub, tmp_path: Path) -> None:
    hub.publish(MODEL, {**READ, "config.json": b'{"architectures": ["MambaForCausalLM"]}'})
    assert fetch(hub, tmp_path, MODEL).refused == "no Llama"
    assert "config.json" in hub.fetched()
    assert "model.safetensors" not in hub.fetched()


def test_a_plan_needs_the_config_alone(hub: Hub, tmp_path: Path) -> None:
    hub.publish(MODEL, {**READ, "quant_config.json": b"{}"})
    found = fetch(hub, tmp_path, MODEL, "config")
    assert set(found.files) == {"config.json", "quant_config.json"}
    # What is there is not all: without a hub, nothing can be served of it.
    refused = fetch(hub, tmp_path, MODEL, HF_HUB_OFFLINE="1").refused
    assert refused == (
        f"{MODEL} is no directory here, and not wholly in the hub's cache, where there are {MODEL}"
        f"; unset HF_HUB_OFFLINE to fetch it"
    )


def test_without_a_hub_the_cache_is_served(tmp_path: Path) -> None:
    with hub_server() as hub:
        hub.publish(MODEL, READ, "v1.0")
        found = fetch(hub, tmp_path, MODEL)
        fetch(hub, tmp_path, f"{MODEL}@v1.0")
        hub.requests.clear()
        for model in (MODEL, f"{MODEL}@v1.0", f"{MODEL}@{found.place.name}"):
            assert fetch(hub, tmp_path, model, HF_HUB_OFFLINE="1").place == found.place
        assert hub.requests == []
    assert fetch(hub, tmp_path, MODEL).place == found.place
    assert fetch(hub, tmp_path, "some-org/other").refused == (
        f"some-org/other is no directory here, and not wholly in the hub's cache, where there are "
        f"{MODEL}, and the hub at {hub.url} cannot be reached (ConnectError); try again with a "
        f"network, or give a directory"
    )
    nothing = fetch(hub, tmp_path / "empty", MODEL, HF_HUB_OFFLINE="1")
    assert nothing.refused.endswith("where there is nothing; unset HF_HUB_OFFLINE to fetch it")


def test_a_gguf_file_and_what_it_is_split_into(hub: Hub, tmp_path: Path) -> None:
    split = {f"Q8_0/some-0000{part}-of-00003.gguf": b"GGUF%d" % part for part in (1, 2, 3)}
    others = {"some-Q4_K_M.gguf": b"GGUF", "some[1].gguf": b"GGUF", "some1.gguf": b"GGUF"}
    commit = hub.publish(MODEL, {**READ, **split, **others})
    found = fetch(hub, tmp_path, f"{MODEL}:Q8_0/some-00002-of-00003.gguf", "gguf")
    snapshot = found.place.parents[1]
    assert found.place == snapshot / "Q8_0" / "some-00002-of-00003.gguf"
    assert snapshot.name == commit
    assert found._replace(place=snapshot).files == split
    hub.requests.clear()
    given = f"{MODEL}:Q8_0/some-00001-of-00003.gguf"
    found = fetch(hub, tmp_path, given, "gguf", HF_HUB_OFFLINE="1")
    assert found.place == snapshot / "Q8_0" / "some-00001-of-00003.gguf"
    assert hub.requests == []
    # Not a pattern.
    found = fetch(hub, tmp_path, f"{MODEL}:some[1].gguf", "gguf")
    assert found._replace(place=snapshot).files == {**split, "some[1].gguf": b"GGUF"}


def test_a_gguf_file_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    names = [f"some-Q{bits}.gguf" for bits in range(2, 9)]
    hub.publish(MODEL, dict.fromkeys(names, b"GGUF"))
    refused = fetch(hub, tmp_path, f"{MODEL}:some-Q9.gguf", "gguf").refused
    assert refused == (
        f"{MODEL} has no some-Q9.gguf, but GGUF files: some-Q2.gguf, some-Q3.gguf, some-Q4.gguf, "
        f"some-Q5.gguf, some-Q6.gguf … (7 of them); give one of them, like {MODEL}:some-Q2.gguf"
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            {"some-Q8_0.gguf": b"GGUF"},
            f"has no config.json, but GGUF files: some-Q8_0.gguf; give one of them, like {MODEL}:",
            id="GGUF alone",
        ),
        pytest.param(
            {"config.json": READ["config.json"], "some-Q8_0.gguf": b"GGUF"},
            "has no weights as safetensors, but GGUF files: some-Q8_0.gguf; give one of them",
            id="GGUF beside a config",
        ),
        pytest.param(
            {"config.json": READ["config.json"], "pytorch_model.bin": b"\x80"},
            "has its weights in PyTorch's pickles, which is not read; give a model that is",
            id="pickles",
        ),
        pytest.param(
            {"README.md": b""},
            "has no config.json; give a model that is published as safetensors or GGUF",
            id="nothing",
        ),
    ],
)
def test_a_model_in_another_form(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    hub.publish(MODEL, files)
    assert f"{MODEL} {said}" in fetch(hub, tmp_path, MODEL).refused
    assert not [file for file in hub.fetched() if file.endswith((".gguf", ".bin"))]


def test_a_hub_that_refuses(hub: Hub, tmp_path: Path) -> None:
    hub.publish(MODEL, READ)
    hub.status = 403
    assert fetch(hub, tmp_path, MODEL).refused == (
        f"{MODEL} could not be fetched from {hub.url} (HTTP 403); try again later: what has come "
        f"whole is kept"
    )


def test_an_id_that_cannot_be(hub: Hub, tmp_path: Path) -> None:
    said = fetch(hub, tmp_path, "some--org/model").refused
    assert said.startswith("some--org/model is no directory here, and cannot be the id of a model")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "finds no room in {cache} (No space left on device); make room, or set HF_"),
        (errno.EACCES, "cannot be kept in {cache} (Permission denied); give the user that runs"),
    ],
)
def test_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def fail(*arguments: object, **named: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(client, "snapshot_download", fail)
    with pytest.raises(CheckpointError) as refused:
        client.fetch_gguf(HubId(MODEL, file="some.gguf"))
    assert f"{MODEL} {said.format(cache=client.constants.HF_HUB_CACHE)}" in str(refused.value)


def test_what_the_cache_holds(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hub.publish(MODEL, {**READ, "model.safetensors": b"first"}, "v1.0")
    fetch(hub, tmp_path, f"{MODEL}@v1.0")
    second = hub.publish(MODEL, READ)
    fetch(hub, tmp_path, MODEL)
    cache = tmp_path / "hub"
    data = cache / "datasets--some-org--Data/snapshots/0123"
    data.mkdir(parents=True)
    (data / "config.json").write_text("{}")
    whole = client.scan_cache_dir
    monkeypatch.setattr(client, "scan_cache_dir", lambda: whole(cache))
    found = {model.revision: model for model in client.cached_models()}
    assert set(found) == {first, second}
    assert {model.id for model in found.values()} == {MODEL}
    assert (found[first].names, found[second].names) == (["v1.0"], ["main"])
    assert found[second].bytes == sum(map(len, {*READ.values()}))
    assert found[second].directory == cache / "models--some-org--Some-Model/snapshots" / second


def test_without_the_client_its_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from model.sources.places import resolve\n"
        f"resolve({MODEL!r}, None)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert ended.stderr.splitlines()[-1] == (
        "model.config.CheckpointError: models of the hub are fetched by huggingface_hub, which is "
        "not installed; at the top of a checkout run pip install '.[hub]', or give a directory"
    )
