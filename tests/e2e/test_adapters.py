"""A server with adapters, asked over HTTP: what PEFT's merged models would have answered."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from openai import NotFoundError, OpenAI
from safetensors.numpy import load_file
from support.host_group import running_group
from support.server_process import ServerProcess, end_server, start_server

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL = "llama-3.1"
ADAPTERS = ("all-linear", "queries-and-values", "patterns")
TEXT = "The quick brown fox jumps over the lazy dog."
FLAGS = ("--rows", "4", "--context", "64", "--prefill-chunk", "16", "--cache-tokens", "512")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, with what it needs to be asked."""
    place = tmp_path_factory.mktemp("models") / MODEL
    shutil.copytree(FIXTURES / "models" / MODEL, place)
    shutil.copy(FIXTURES / "models" / "tokenizer.model", place)
    (place / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    return place


def flags(directory: Path) -> list[str]:
    """What a server of the model and all its adapters is started with."""
    given = [f"--adapter={name}={FIXTURES / 'adapters' / name}" for name in ADAPTERS]
    return ["--model", str(directory), *given, *FLAGS]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    return wide - np.log(np.exp(wide - wide.max()).sum()) - wide.max()


def likeliest(client: OpenAI, name: str) -> tuple[str, int, list[float]]:
    """Who answers after the text, how much of it was cached, and the likeliest tokens' values."""
    answer = client.chat.completions.create(
        model=name,
        messages=[{"role": "user", "content": TEXT}],
        logprobs=True,
        top_logprobs=20,
        max_completion_tokens=2,
        temperature=0,
    )
    first = answer.choices[0].logprobs.content[0]
    cached = answer.usage.prompt_tokens_details.cached_tokens
    return answer.model, cached, [each.logprob for each in first.top_logprobs]


def check(server: ServerProcess, names: Sequence[str]) -> None:
    """Ask all at once, and hold each answer to the reference."""
    with (
        OpenAI(base_url=server.url, api_key="none", max_retries=0) as client,
        ThreadPoolExecutor(len(names)) as threads,
    ):
        found = list(threads.map(lambda name: likeliest(client, name), names))
    for name, (answered, _, values) in zip(names, found, strict=True):
        folder = "models" if name == MODEL else "adapters"
        logits = load_file(FIXTURES / folder / name / "expected.safetensors")["logits"]
        reference = np.sort(log_softmax(logits[-1]))[::-1][:20]
        assert answered == name
        np.testing.assert_allclose(values, reference, atol=1e-3)


@pytest.fixture(scope="module")
def server(directory: Path, compile_cache: Path) -> Iterator[ServerProcess]:
    running = start_server(compile_cache, *flags(directory))
    yield running
    assert end_server(running) == 0, "".join(running.lines)


def test_all_answer_at_once_each_as_its_merged_model(server: ServerProcess) -> None:
    check(server, [MODEL, *ADAPTERS] * 2)
    assert server.metric("parlance_engine_compilations_total") == 0


def test_each_finds_its_own_pages_again(server: ServerProcess) -> None:
    check(server, [MODEL, *ADAPTERS])
    text = httpx.get(f"{server.root}/metrics", timeout=30).text
    for name in ADAPTERS:
        assert f'parlance_adapter_tokens_total{{adapter="{name}"}}' in text
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        for name in (*ADAPTERS, MODEL):
            answered, cached, _ = likeliest(client, name)
            assert (answered, cached > 0) == (name, True)


def test_models_and_what_is_none(server: ServerProcess) -> None:
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        listed = [(each.id, each.parent) for each in client.models.list()]
        assert listed == [(MODEL, None), *((name, MODEL) for name in ADAPTERS)]
        assert client.models.retrieve("patterns").root == str(FIXTURES / "adapters" / "patterns")
        with pytest.raises(NotFoundError, match=r"has 'llama-3\.1', 'all-linear', 'queries-and"):
            likeliest(client, "fun")


@pytest.mark.slow
def test_two_processes_that_divide_the_matrices(directory: Path, compile_cache: Path) -> None:
    with running_group(compile_cache, 2, *flags(directory)) as group:
        assert "mesh data=1, model=2" in group.text(0)
        check(group.server, [MODEL, *ADAPTERS] * 2)
