"""Published models out of GGUF files against llama.cpp, which is given the same numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from support.llama_cpp import LlamaCpp, Place, expanded, llama_cpp
from support.packaged_models import GEMMA3_270M, MUST_FETCH, joined
from support.server_process import end_server, start_server

from model.config import CheckpointError
from sampling.params import SamplingParams
from serve.model_places import find_model
from serve.offline.answers import Answer, Choice
from serve.offline.local_model import LocalModel

pytestmark = pytest.mark.slow

GREEDY = SamplingParams(temperature=0.0, logprobs=True)
# How far log-probabilities may lie apart; SmolLM2's lie within 4e-4.
APART = 2e-2
LENGTH = 48

QUESTIONS = (
    "Hello!",
    "What is the capital of France?",
    "Count from 1 to 20.",
    "What is 12345 + 67890?",
    "How much is 3.14159 times 2?",
    "你好，请介绍一下你自己。",
    "日本の首都はどこですか？",
    "한국의 수도는 어디입니까?",
    "😀🎉 what do these emoji mean? 👩‍👩‍👧‍👦",
    "def fib(n):\n    if n < 2:\n        return n\n    return fib(n-1) + fib(n-2)\n\nExplain this.",
    "Write a C function that adds two integers.",
    "```python\nfor i in range(10):\n\tprint(i)\n```\nWhat does it print?",
    "Überraschung: naïve café, Ångström, ñandú.",
    "Привет! Как дела?",
    "مرحبا، كيف حالك؟",
    "   leading and trailing spaces   ",
    "A\n\n\nB\r\n\r\nC\ttab",
    "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name;",
    "1,000,000 + 0x1F600 = ? (2024-01-31T12:00:00Z)",
    "Don't you think it's what we've they'll I'd I'm?",
)
OPENINGS = (
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "1, 2, 3, 5, 8,",
    "Die Hauptstadt von Österreich heißt",
)


@pytest.fixture(scope="module")
def smollm2(cache_home: Path) -> Iterator[Path]:
    """The file of the catalogue's model; the processes of these tests find it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_home))
        try:
            find_model("smollm2")
        except CheckpointError as error:
            if MUST_FETCH or "pip cannot fetch" not in str(error):
                raise
            pytest.skip(str(error))
        yield next(cache_home.rglob("SmolLM2-135M-Instruct.Q4_1.gguf"))


@pytest.fixture(scope="module")
def reference(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    pytest.importorskip("xllamacpp")
    with llama_cpp(expanded(smollm2, tmp_path_factory.mktemp("reference") / "f32.gguf")) as running:
        yield running


def compare(choice: Choice, places: list[Place]) -> int:
    """Both are the same answer with the same alternatives; how many could be compared."""
    assert [token.id for token in choice.tokens] == [place.id for place in places]
    compared = 0
    for token, place in zip(choice.tokens, places, strict=True):
        if place.logprobs is None:
            continue
        ours = {each.id: each.logprob for each in token.alternatives}
        least = min(ours.values())
        # Where the last of the alternatives are as likely as others, those may stand instead.
        assert all(
            logprob == pytest.approx(ours.get(id_, least), abs=APART)
            for id_, logprob in place.logprobs.items()
        )
        compared += len(place.logprobs)
    return compared


@pytest.fixture(scope="module")
def answers(smollm2: Path) -> list[Answer]:
    """To each of the questions."""
    conversations = [[{"role": "user", "content": text}] for text in QUESTIONS]
    with LocalModel.load(smollm2, rows=4, context=512, progress=False) as model:
        return model.generate(conversations, GREEDY, max_tokens=LENGTH)


def test_smollm2_answers_as_llama_cpp_does(answers: list[Answer], reference: LlamaCpp):
    (end,) = reference.tokens("<|im_end|>")
    compared = 0
    for question, answer in zip(QUESTIONS, answers, strict=True):
        assert list(answer.prompt) == reference.prompt([{"role": "user", "content": question}])
        (choice,) = answer.choices
        places = reference.greedy(answer.prompt, LENGTH)
        if choice.finish_reason == "stop":
            assert places.pop().id == end
        compared += compare(choice, places)
    assert compared > 20 * 400


def test_the_catalogues_model_is_served_by_its_name(answers: list[Answer], compile_cache: Path):
    """The whole way of who types `parlance serve --model smollm2`."""
    flags = ("--rows", "1", "--context", "256", "--cache-tokens", "256", "--mesh", "")
    server = start_server(compile_cache, "--model", "smollm2", *flags)
    try:
        with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            for question, answer in zip(QUESTIONS[:2], answers, strict=False):
                completion = client.chat.completions.create(
                    model="smollm2",
                    messages=[{"role": "user", "content": question}],
                    temperature=0,
                    max_completion_tokens=LENGTH,
                )
                assert completion.usage.prompt_tokens == len(answer.prompt)
                assert completion.choices[0].message.content == answer.choices[0].text
    finally:
        assert end_server(server) == 0, "".join(server.lines)


def test_gemma_goes_on_as_llama_cpp_does(tmp_path: Path):
    pytest.importorskip("xllamacpp")
    file = joined(GEMMA3_270M, tmp_path / "gemma-3-270m.gguf")
    template = tmp_path / "as-it-is.jinja"
    template.write_text("{{ bos_token }}{{ messages[0]['content'] }}")
    conversations = [[{"role": "user", "content": text}] for text in OPENINGS]
    settings = {"rows": 4, "context": 256, "progress": False, "chat_template": template}
    with LocalModel.load(file, **settings) as model:
        answers = model.generate(conversations, GREEDY, max_tokens=64)
    with llama_cpp(expanded(file, tmp_path / "f32.gguf")) as reference:
        for text, answer in zip(OPENINGS, answers, strict=True):
            assert list(answer.prompt) == reference.tokens(text)
            assert compare(answer.choices[0], reference.greedy(answer.prompt, 64)) > 20 * 60
