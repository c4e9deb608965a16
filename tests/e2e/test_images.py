"""Checkpoints that see, asked over HTTP about pictures: what the reference library answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import OpenAI
from support.prompts_seen import NAMES, seen_prompt
from support.seeing_checkpoints import checkpoint, ids_of, message_of, picture_url
from support.server_process import end_server, start_server
from support.towers import GEMMA, QWEN

FLAGS = ("--rows", "4", "--context", "160", "--prefill-chunk", "32", "--page-size", "8")
FLAGS += ("--cache-tokens", "640")


class Seeing:
    """A running server whose model sees."""

    def __init__(self, fixture: str, client: OpenAI) -> None:
        self.fixture = fixture
        self.client = client

    def ask(self, message: dict[str, Any], **fields: Any) -> Any:
        """A whole answer, the likeliest."""
        return self.client.chat.completions.create(
            model=self.fixture,
            messages=[message],
            **{"temperature": 0, "max_completion_tokens": 32, **fields},
        )


@pytest.fixture(scope="module", params=[QWEN, pytest.param(GEMMA, marks=pytest.mark.slow)])
def seeing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, compile_cache: Path
) -> Iterator[Seeing]:
    fixture: str = request.param
    directory = checkpoint(fixture, tmp_path_factory.mktemp("seeing"))
    server = start_server(compile_cache, "--model", str(directory), *FLAGS)
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        yield Seeing(fixture, client)
    assert end_server(server) == 0, "".join(server.lines)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    return wide - np.log(np.exp(wide - wide.max()).sum()) - wide.max()


@pytest.mark.parametrize("name", NAMES)
def test_answers_and_alternatives_are_the_references(seeing: Seeing, name: str) -> None:
    prompt = seen_prompt(seeing.fixture, name)
    answer = seeing.ask(message_of(seeing.fixture, prompt), logprobs=True, top_logprobs=20)
    assert answer.usage.prompt_tokens == len(prompt.tokens)
    assert ids_of(answer.choices[0].message.content) == prompt.greedy
    found = [each.logprob for each in answer.choices[0].logprobs.content[0].top_logprobs]
    wanted = np.sort(log_softmax(prompt.logits[-1]))[::-1][:20]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_a_picture_is_known_again_and_no_other_is_taken_for_it(seeing: Seeing) -> None:
    prompt = seen_prompt(seeing.fixture, "last")
    message = message_of(seeing.fixture, prompt)
    other = message_of(seeing.fixture, prompt)
    image = prompt.images[0]
    swapped = picture_url(seeing.fixture, 255 - image.patches, image.grid)
    other["content"][-1]["image_url"]["url"] = swapped
    seeing.ask(message)
    answers = [seeing.ask(each) for each in (message, other, message, other)]
    whole = (len(prompt.tokens) - 1) // 8 * 8
    cached = [each.usage.prompt_tokens_details.cached_tokens for each in answers]
    assert cached == [whole, image.start // 8 * 8, whole, whole]
    texts = [each.choices[0].message.content for each in answers]
    assert texts[0] == texts[2] != texts[1] == texts[3]
    assert ids_of(texts[0]) == prompt.greedy
