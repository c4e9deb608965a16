"""Adapters in a script: the offline model answers as each one's merged model."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sampling.params import SamplingParams
from serve.offline import LocalModel

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL = "qwen-3"
TEXT = "The quick brown fox jumps over the lazy dog."
GREEDY = SamplingParams(temperature=0.0, logprobs=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    place = tmp_path_factory.mktemp("models") / MODEL
    shutil.copytree(FIXTURES / "models" / MODEL, place)
    shutil.copy(FIXTURES / "models" / "tokenizer.model", place)
    (place / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    adapters = {"mine": FIXTURES / "adapters" / "some-layers"}
    loaded = LocalModel.load(place, rows=2, context=64, compile_cache=None, adapters=adapters)
    with loaded:
        yield loaded


def test_an_adapter_answers_where_it_is_asked_for(model: LocalModel) -> None:
    prompt = [{"role": "user", "content": TEXT}]
    for adapter, place in (("mine", "adapters/some-layers"), (None, f"models/{MODEL}")):
        (answer,) = model.generate([prompt], GREEDY, max_tokens=1, adapter=adapter)
        expected = load_file(FIXTURES / place / "expected.safetensors")
        assert list(answer.prompt) == expected["tokens"].tolist()
        logits = np.float64(expected["logits"][-1])
        (token,) = answer.choices[0].tokens
        assert token.id == logits.argmax()
        assert token.logprob == pytest.approx(logits.max() - np.log(np.exp(logits).sum()), abs=1e-3)


def test_an_adapter_that_is_not_there(model: LocalModel) -> None:
    assert model.info.adapters == ("mine",)
    with pytest.raises(ValueError, match="adapter is 'yours'; this model has mine"):
        model.generate([TEXT], GREEDY, adapter="yours")
