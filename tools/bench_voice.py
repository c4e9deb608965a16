"""How soon a speech is heard, and how much faster it is made than it lasts.

    python -m tools.bench_voice
    python -m tools.bench_voice --voices voices.toml --voice alloy

Speaks without a server: feeds a text as a model writes it, word by word, to one speech, and to
four at once. A speech's first sound is timed from the end of its first sentence; its real-time
factor is seconds of work for a second of sound, with the text all there. Its last line is one JSON
object.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from serve.voice.settings import VoiceSettings
from serve.voice.speaker import Speaker
from serve.voice.types import SAMPLE_RATE, Voice
from serve.voice.voices import read_voices

_TEXT = (
    "The harbour was quiet when the first boats came in. Nobody had expected them before noon, and "
    "the market stood empty. An old man sat on the wall, mending a net; he looked up, nodded, and "
    "went on with his work. Is it always like this? Yes, he said, in winter it is."
)
_STREAMS = (1, 4)


class Heard(NamedTuple):
    """Milliseconds to the first sound, seconds until all was made, and those that it lasts."""

    first: float
    made: float
    lasts: float


async def _heard(speaker: Speaker, voice: Voice, words: Sequence[str], pause: float) -> Heard:
    speech = speaker.begin(voice)
    began, ended, first, samples = time.perf_counter(), 0.0, 0.0, 0

    async def write() -> None:
        nonlocal ended
        for word in words:
            speech.feed(word)
            if not ended and word.endswith(". "):
                ended = time.perf_counter()
            await asyncio.sleep(pause)
        speech.flush()

    writing = asyncio.create_task(write())
    async for piece in speech:
        first = first or time.perf_counter()
        samples += len(piece)
    made = time.perf_counter() - began
    await writing
    await speech.aclose()
    return Heard(1000 * (first - ended), made, samples / SAMPLE_RATE)


async def _measured(speaker: Speaker, voice: Voice, streams: int, rounds: int) -> dict[str, float]:
    words = [f"{word} " for word in _TEXT.split()]
    # What is slow the first time has no part in this.
    await _heard(speaker, voice, words, 0)
    first: list[float] = []
    factors: list[float] = []
    for _ in range(rounds):
        written = (_heard(speaker, voice, words, 0.02) for _ in range(streams))
        first += [each.first for each in await asyncio.gather(*written)]
        began = time.perf_counter()
        there = await asyncio.gather(*(_heard(speaker, voice, words, 0) for _ in range(streams)))
        factors.append((time.perf_counter() - began) / sum(each.lasts for each in there))
    return {
        "first_sound_ms": round(statistics.median(first), 1),
        "slowest_first_sound_ms": round(max(first), 1),
        "real_time_factor": round(statistics.median(factors), 5),
    }


async def _run(path: Path | None, name: str, processes: int, rounds: int) -> None:
    voices = read_voices(path)
    if name not in voices:
        raise click.ClickException(f"no voice {name!r}; there are {', '.join(voices)}")
    speaker = Speaker({name: voices[name]}, VoiceSettings(processes=processes))
    try:
        await speaker.start()
        told = {
            f"streams_{count}": await _measured(speaker, voices[name], count, rounds)
            for count in _STREAMS
        }
    finally:
        speaker.close()
    click.echo(json.dumps({"voice": name, "processes": processes, **told}))


@click.command(help="Measure how soon a speech is heard, and how fast it is made.")
@click.option("--voices", type=click.Path(path_type=Path, exists=True), help="A voices file.")
@click.option("--voice", default="alloy", show_default=True, help="One of its names.")
@click.option("--processes", default=1, show_default=True, help="That speak.")
@click.option("--rounds", default=5, show_default=True, help="Medians are of so many.")
def main(voices: Path | None, voice: str, processes: int, rounds: int) -> None:
    """Run it."""
    asyncio.run(_run(voices, voice, processes, rounds))


if __name__ == "__main__":
    main()
