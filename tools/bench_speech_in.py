"""How fast speech is recognized.

    python -m tools.bench_speech_in --model DIR

espeak-ng speaks a text, which several callers want to be heard at once. Its last line is one JSON
object: seconds of sound for each second, of all callers together, and how long the first who asked
alone waited for a sentence.
"""

import asyncio
import json
import time
from pathlib import Path

import click
import numpy as np

from serve.engine.transcriber import Transcriber, load_transcriber
from tools.espeak import RATE, speak

_SENTENCE = "The teacher wrote the answer on the board, and the children read it together."
_PAUSE = np.zeros(RATE // 2, np.float32)


async def measure(transcriber: Transcriber, callers: int, seconds: int) -> dict[str, object]:
    """What the last line tells.

    Args:
        transcriber: that has been started.
        callers: that ask at once.
        seconds: of sound that each sends, at least.
    """
    sentence = np.concatenate([speak(_SENTENCE), _PAUSE])
    text = np.tile(sentence, -(-seconds * RATE // len(sentence)))
    began = time.perf_counter()
    await transcriber.transcribe(sentence)
    alone = time.perf_counter() - began
    began = time.perf_counter()
    heard = await asyncio.gather(*(transcriber.transcribe(text) for _ in range(callers)))
    took = time.perf_counter() - began
    spoken = callers * len(text) / RATE
    return {
        "audio_seconds": round(spoken, 1),
        "seconds": round(took, 2),
        "times_real_time": round(spoken / took, 2),
        "sentence_seconds": round(alone, 3),
        "words": sum(len(each.text.split()) for each in heard),
    }


@click.command(help="Measure how fast a speech model recognizes what espeak-ng speaks.")
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--callers", default=4, show_default=True, help="Who ask at once.")
@click.option("--seconds", default=60, show_default=True, help="Of sound that each sends.")
@click.option("--rows", default=0, show_default=True, help="Windows of a call; 0 for the default.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32 or bfloat16.")
def main(model: Path, callers: int, seconds: int, rows: int, dtype: str) -> None:
    """Run it."""
    transcriber = load_transcriber(model, dtype, rows)
    transcriber.start(lambda done, total, doing: click.echo(f"{done}/{total} {doing}", err=True))
    result = asyncio.run(measure(transcriber, callers, seconds))
    transcriber.close()
    print(json.dumps({"rows": transcriber.rows, **result}))


if __name__ == "__main__":
    main()
