"""Checkpoints as they are published, asked over HTTP: the reference's log-probabilities."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from openai import OpenAI
from safetensors.numpy import load_file
from support.server_process import end_server, start_server

from model.tokenizer.sentence_piece import SentencePieceTokenizer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
TEXT = "The quick brown fox jumps over the lazy dog."
PREFIXES = [TEXT[:end] for end in (9, 19, 30, len(TEXT))]
# On several devices each takes the mesh that it allows: six experts are not divided by four.
FLAGS = ("--rows", "1", "--context", "128", "--prefill-chunk", "16", "--cache-tokens", "128")
FLAGS += ("--mesh", "")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    return wide - np.log(np.exp(wide - wide.max()).sum()) - wide.max()


@pytest.mark.parametrize(
    "name",
    [
        "llama-3.1",
        "gpt-oss-mxfp4",
        pytest.param("gemma-3", marks=pytest.mark.slow),
        pytest.param("qwen-3-moe", marks=pytest.mark.slow),
        pytest.param("mistral", marks=pytest.mark.slow),
        pytest.param("olmo-2", marks=pytest.mark.slow),
        pytest.param("phi-4-mini", marks=pytest.mark.slow),
    ],
)
def test_top_logprobs_are_the_references(name: str, tmp_path: Path, compile_cache: Path):
    directory = shutil.copytree(FIXTURES / name, tmp_path / name)
    shutil.copy(FIXTURES / "tokenizer.model", directory)
    (directory / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    tokenizer = SentencePieceTokenizer(directory / "tokenizer.model")
    expected = load_file(directory / "expected.safetensors")
    server = start_server(compile_cache, "--model", str(directory), *FLAGS)
    try:
        with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            for prefix in PREFIXES:
                ids = tokenizer.encode(prefix)
                assert ids == expected["tokens"][: len(ids)].tolist()
                answer = client.chat.completions.create(
                    model=name,
                    messages=[{"role": "user", "content": prefix}],
                    logprobs=True,
                    top_logprobs=20,
                    max_completion_tokens=1,
                    temperature=0,
                )
                assert answer.usage.prompt_tokens == len(ids)
                found = [
                    each.logprob for each in answer.choices[0].logprobs.content[0].top_logprobs
                ]
                reference = np.sort(log_softmax(expected["logits"][len(ids) - 1]))[::-1][:20]
                np.testing.assert_allclose(found, reference, atol=1e-3)
    finally:
        code = end_server(server)
    assert code == 0, json.dumps(server.lines)
