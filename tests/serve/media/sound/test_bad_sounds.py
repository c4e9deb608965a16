"""Whatever strangers send is refused in a sentence or read within bounds; the next is read.

A case ends by itself within one second of a core; what it may take by the clock allows for a busy
machine.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from support.bad_sounds import BAD, GOOD, REFUSED

from serve.media.errors import MediaError
from serve.media.sound.limits import SoundLimits
from serve.media.sound.reader import SoundReader
from serve.media.sound.transfer import SoundFormat

LIMITS = SoundLimits(bytes=2**20, sound_seconds=60.0, memory=128 * 2**20, seconds=1.0)


@pytest.fixture(scope="module")
def reader() -> Iterator[SoundReader]:
    made = SoundReader(LIMITS)
    yield made
    made.close()


def test_there_are_many() -> None:
    assert len(BAD) >= 60
    forms: set[SoundFormat] = {"wav", "mp3"}
    assert {form for form, _, _ in BAD.values()} == forms


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", BAD)
async def test_it_is_refused_or_read_within_bounds_and_the_next_is_read(
    case: str, reader: SoundReader
) -> None:
    form, make, said = BAD[case]
    if case in REFUSED:
        with pytest.raises(MediaError) as refused:
            await reader.read(make(), form)
        reason = refused.value.reason
        assert reason.startswith("This sound ")
        assert reason.endswith(".")
        assert str(said) in reason
        assert refused.value.code in ("file_too_large", "invalid_file", "unsupported_file")
    else:
        sound = await reader.read(make(), form)
        assert 0 < len(sound) <= LIMITS.samples
        assert np.abs(sound).max() <= 1
    assert len(await reader.read(GOOD, "wav")) == 16_000
