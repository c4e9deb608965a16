"""The bundled model's answers where its matrices, or its cache, are kept in fewer bits."""

import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.paged_text import logits_of

from model.bundled import directory
from model.cache import INT8
from model.float8 import FP8
from model.loading import load_model, load_tokenizer
from model.mesh import make_mesh
from model.parameters import Parameters, decoder_with
from sampling.params import SamplingParams
from serve.offline.local_model import LocalModel
from tools.bundled_data.chat_format import Document, document
from tools.bundled_data.conversations import conversation
from tools.bundled_data.grammar import Split

NEWCOMERS = Path(__file__).parents[1] / "tools/bundled/newcomers.txt"
LENGTH, DOCUMENTS = 512, 42


def answers(weights: str, cache_dtype: str) -> list[str]:
    asked = [line for line in NEWCOMERS.read_text(encoding="utf-8").splitlines() if line.strip()]
    prompts = [[{"role": "user", "content": line}] for line in asked]
    with LocalModel.load(weights=weights, cache_dtype=cache_dtype, cache_tokens=8192) as model:
        found = model.generate(prompts, SamplingParams(temperature=0.0), max_tokens=32)
    return [each.choices[0].text for each in found]


@pytest.mark.slow
def test_greedy_answers_stay_in_int8_and_beside_small_caches() -> None:
    plain = answers("full", "auto")
    assert len(plain) == 60
    assert len(set(plain)) > 20
    assert answers("int8", "auto") == plain
    assert answers("full", "fp8") == plain
    assert answers("full", "int8") == plain


def perplexity(documents: list[Document], weights: str = "full", pages: str = "float32") -> float:
    """Of the tokens of answers, each document read through pages of its own."""
    model = load_model(directory(), make_mesh(), "float32", weights)

    @jax.jit
    def scores(parameters: Parameters, ids: jax.Array) -> jax.Array:
        logits = logits_of(decoder_with(model.config, parameters), ids, pages)
        return jnp.take_along_axis(jax.nn.log_softmax(logits[:-1]), ids[1:, None], 1)[:, 0]

    found: list[np.ndarray] = []
    for each in documents:
        ids, answer = (np.zeros(LENGTH, np.int32) for _ in range(2))
        count = min(LENGTH, len(each.ids))
        ids[:count], answer[:count] = each.ids[:count], each.answers[:count]
        found.append(np.asarray(scores(model.parameters, jnp.asarray(ids)))[answer[1:] > 0])
    return float(np.exp(-np.concatenate(found).mean()))


@pytest.mark.slow
def test_perplexity_of_answers() -> None:
    tokenizer = load_tokenizer(directory(), load_model(directory(), make_mesh()).config)
    generator = random.Random(0)
    documents = [
        document(tokenizer, conversation(generator, Split.HELD_OUT)) for _ in range(DOCUMENTS)
    ]
    assert sum(len(each.ids) for each in documents) > 6_000
    full = perplexity(documents)
    for weights, most in {"int8": 0.005, "fp8": 0.005, "int4": 0.03}.items():
        assert abs(perplexity(documents, weights) / full - 1) <= most, weights
    for pages in (FP8, INT8):
        assert abs(perplexity(documents, pages=pages.name) / full - 1) <= 0.005, pages
