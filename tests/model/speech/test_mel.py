"""Frames are the reference's (`tools/make_speech_fixtures.py`)."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.speech import FIXTURES, clip

from model.speech.mel import log_mel, mel_filters

MELS = load_file(FIXTURES / "mels.safetensors")
SECONDS = 16_000


@pytest.mark.parametrize("name", sorted(MELS))
def test_frames_are_the_references(name):
    spoken, _, mels = name.partition(".")
    samples, wanted = clip(spoken), MELS[name]
    frames = log_mel(samples, 30 * SECONDS, int(mels))
    assert frames.shape == (3000, int(mels))
    np.testing.assert_allclose(frames[: len(samples) // 160 + 9 : 3], wanted, atol=1e-5, rtol=0)


def test_silence_is_one_value():
    # log10 of 1e-10, and (-10 + 4) / 4.
    frames = log_mel(np.zeros(100, np.float32), SECONDS, 80)
    assert frames.shape == (100, 80)
    assert np.all(frames == -1.5)


def test_what_is_far_below_the_loudest_is_cut_off():
    tone = np.sin(np.arange(SECONDS // 2, dtype=np.float32) * 2 * np.pi / 16)
    frames = log_mel(tone, SECONDS, 80)
    # 8 / 4 below it.
    assert frames.max() - frames.min() == pytest.approx(2.0, abs=1e-6)
    # A thousandth as loud, a millionth of the power; in ten to the fourth.
    quiet = log_mel(tone / 1000, SECONDS, 80)
    assert frames.max() - quiet.max() == pytest.approx(6 / 4, abs=1e-6)


def test_filters_are_triangles_of_equal_area():
    filters = mel_filters(80)
    assert filters.shape == (201, 80)
    # Bins are 40 Hz apart: wide triangles are summed well by them.
    np.testing.assert_allclose(filters[:, -20:].sum(axis=0) * 40, 1.0, atol=0.02)


def test_too_long_a_window():
    with pytest.raises(ValueError, match="16001 samples do not fit a window of 16000"):
        log_mel(np.zeros(16_001, np.float32), 16_000, 80)
