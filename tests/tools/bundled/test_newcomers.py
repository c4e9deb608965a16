"""What a newcomer may say in the first minute, and the model that comes with the package."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from model import bundled
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from sampling.params import SamplingParams
from serve.engine.loading import load_engine
from serve.offline import LocalModel
from serve.text.render import Renderer
from serve.text.template_files import load_chat_template

PROMPTS = (Path(__file__).parent / "newcomers.txt").read_text().splitlines()
LONGEST = 400


def test_the_bundled_files_agree() -> None:
    directory = bundled.directory()
    config = json.loads((directory / "config.json").read_text())
    generation = json.loads((directory / "generation_config.json").read_text())
    tokenizer = SentencePieceTokenizer(directory / "tokenizer.model")
    assert config["vocab_size"] == tokenizer.vocab_size
    assert generation["eos_token_id"] == [
        tokenizer.controls["<|im_end|>"],
        tokenizer.controls["<|endoftext|>"],
    ]
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert size < 25_000_000


def test_there_are_sixty_prompts() -> None:
    assert len(set(PROMPTS)) == 60


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    # Most of this file's time goes into compiling: one size of prompts does for all.
    loaded = load_engine(bundled.directory(), rows=16, prefill_chunk=16, deterministic=True)
    template = load_chat_template(bundled.directory(), loaded.tokenizer.named, "")
    with LocalModel(loaded, Renderer(loaded.tokenizer, template), progress=False) as ready:
        yield ready


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_answer_to_a_newcomer_ends_and_says_something(model: LocalModel) -> None:
    conversations = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    answers = model.generate(conversations, SamplingParams(temperature=0.0), max_tokens=LONGEST)
    choices = {prompt: answer.choices[0] for prompt, answer in zip(PROMPTS, answers, strict=True)}
    endless = [prompt for prompt, choice in choices.items() if choice.finish_reason != "stop"]
    empty = [prompt for prompt, choice in choices.items() if not choice.text.strip()]
    assert not endless
    assert not empty
    for prompt, choice in choices.items():
        print(f"{prompt!r:50} {choice.text!r}")
