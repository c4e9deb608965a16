"""Speech models compute and write what the reference library does.

The fixtures are tiny checkpoints as that library writes them, with what its `generate` wrote of
clips (`tools/make_speech_fixtures.py`).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.speech import CLIPS, clip, expected, read_out, speech_model

from model.speech.mel import log_mel
from model.speech.parameters import whisper_with
from model.speech.recognizer import LoadedSpeech, write

pytestmark = pytest.mark.usefixtures("quickly")
FIXTURES = ("tiny", "tiny-128", "tiny.en")


@pytest.fixture(scope="module", params=FIXTURES)
def fixture(request) -> str:
    return request.param


def scores_after(model: LoadedSpeech, samples: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """[T, V]: of each token of a text that is given."""
    config = model.config

    @jax.jit
    def run(parameters, frames, tokens):
        whisper = whisper_with(config, parameters)
        heard = whisper.decoder.heard(whisper.encoder(frames))
        empty = tuple(jnp.zeros((1, len(tokens), *each.shape[2:]), each.dtype) for each in heard)

        def step(cache, each):
            token, position = each
            scores, cache = whisper.decoder.step(token[None], position, cache, heard)
            return cache, scores[0]

        return jax.lax.scan(step, empty, (tokens, jnp.arange(len(tokens))))[1]

    frames = log_mel(samples, config.window, config.mels)[None]
    return np.asarray(run(model.parameters, frames, jnp.asarray(tokens)))


def test_scores_after_every_token(fixture):
    found = expected(fixture)
    name = next(key for key in found if key.endswith(".logits")).removesuffix(".logits")
    wanted = found[f"{name}.logits"]
    assert wanted.shape[0] > 20
    assert np.abs(wanted).max() > 1
    scores = scores_after(speech_model(fixture), clip(name), found[f"{name}.tokens"])
    np.testing.assert_allclose(scores, wanted, atol=1e-4, rtol=0)


def test_the_same_tokens_of_every_clip(fixture):
    model = speech_model(fixture)
    frames = np.stack(
        [log_mel(clip(each), model.config.window, model.config.mels) for each in CLIPS]
    )
    prompt = np.tile(np.array(model.tokens.prompt(None), np.int32), (len(CLIPS), 1))
    written = jax.jit(write, static_argnums=(0, 1))(
        model.config, model.tokens.end, model.parameters, frames, prompt, model.biases
    )
    for name, row in zip(CLIPS, np.asarray(written), strict=True):
        wanted = expected(fixture)[f"{name}.tokens"]
        assert row[: len(wanted)].tolist() == wanted.tolist(), name
        assert set(row[len(wanted) :].tolist()) <= {model.tokens.end}


def test_texts_and_languages(fixture):
    model = speech_model(fixture)
    heard = model([(clip(each), None) for each in CLIPS])
    assert [each.text for each in heard] == [read_out(fixture, each) for each in CLIPS]
    languages = {each.language for each in heard}
    assert languages == {None} if fixture == "tiny.en" else len(languages) > 1
    assert languages <= {None, *model.tokens.languages}


def test_a_language_that_is_told():
    model = speech_model("tiny-128")
    heard = model([(clip(each), "fr") for each in CLIPS])
    assert {each.language for each in heard} == {"fr"}
    texts = [each.text for each in heard]
    assert texts == [read_out("tiny-128", each, "as_french") for each in CLIPS]
    assert texts != [read_out("tiny-128", each) for each in CLIPS]
    with pytest.raises(KeyError):
        model([(clip(CLIPS[0]), "xx")])


def test_nothing_is_written_in_rows_that_fill_a_call_up():
    model = speech_model("tiny")
    frames = np.zeros((2, model.config.frames, model.config.mels), np.float32)
    prompt = np.full((2, 4), model.tokens.end, np.int32)
    prompt[0] = model.tokens.prompt("en")
    first, filling = np.asarray(
        jax.jit(write, static_argnums=(0, 1))(
            model.config, model.tokens.end, model.parameters, frames, prompt, model.biases
        )
    )
    assert first[4] != model.tokens.end
    assert set(filling.tolist()) == {model.tokens.end}


def test_rows_that_fill_a_call_up_change_nothing():
    model, names = speech_model("tiny"), CLIPS[:2]
    heard = model([(clip(each), None) for each in names], rows=4)
    assert [each.text for each in heard] == [read_out("tiny", each) for each in names]
