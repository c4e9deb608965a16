import numpy as np

from model.speech.windows import windows

SECOND = 16_000


def noise(seconds: float, loudness: float = 0.1) -> np.ndarray:
    drawn = np.random.default_rng(1).uniform(-loudness, loudness, int(seconds * SECOND))
    return drawn.astype(np.float32)


def lengths(samples: np.ndarray, size: int) -> list[float]:
    return [len(each) / SECOND for each in windows(samples, size)]


def test_what_fits_is_one_window():
    samples = noise(3)
    (only,) = windows(samples, 3 * SECOND)
    assert only is not None
    assert np.array_equal(only, samples)


def test_a_cut_goes_through_the_quietest_tenth_of_a_second():
    samples = noise(20)
    # Of a window of 12 seconds the last two are looked at.
    samples[int(5.0 * SECOND) : int(5.1 * SECOND)] = 0
    samples[int(11.2 * SECOND) : int(11.3 * SECOND)] *= 0.01
    assert lengths(samples, 12 * SECOND) == [11.25, 8.75]


def test_windows_are_all_of_the_sound():
    samples = noise(100)
    parts = list(windows(samples, 12 * SECOND))
    assert np.array_equal(np.concatenate(parts), samples)
    assert all(10 * SECOND <= len(each) <= 12 * SECOND for each in parts[:-1])


def test_silence_is_left_out():
    assert lengths(np.zeros(50 * SECOND, np.float32), 12 * SECOND) == []
    assert lengths(np.zeros(0, np.float32), 12 * SECOND) == []
    # Of a mean of 6e-4, and of twice that.
    assert lengths(noise(1, 1e-3), 12 * SECOND) == []
    assert lengths(noise(1, 2e-3), 12 * SECOND) == [1.0]
    # A tenth of a second that can be heard.
    samples = np.concatenate([noise(5, 1e-4), noise(0.1, 0.1), noise(1, 1e-4)])
    assert lengths(samples, 12 * SECOND) == [6.1]
    # Shorter than what is measured together.
    assert lengths(noise(0.01), 12 * SECOND) == [0.01]
