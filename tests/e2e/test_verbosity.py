"""That `verbosity` makes the bundled model's answers shorter and longer."""

import asyncio

import pytest
from support.server_process import ServerProcess

from tools.eval_verbosity import PROMPTS, figures, lengths
from tools.load_generator import file_prompts


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_answers_are_longer_at_each_level(server: ServerProcess) -> None:
    """Two one-sided signed-rank tests over the means of sixty prompts: p < 0.01 each."""
    measured = asyncio.run(lengths(server.url, file_prompts(PROMPTS), 8, 400, 1.0))
    assert all(len(each) == 60 for each in measured.values())
    found = figures(measured)
    assert max(found["p"].values()) < 0.01, found
