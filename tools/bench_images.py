"""What an image costs that comes again.

    python -m tools.make_seeing_checkpoint runs/random-seeing
    python -m tools.bench_images --model runs/random-seeing

Starts a server of its own and asks about pictures of coloured squares: about each when it is new,
and again. Times are to the first token. Its last line is one JSON object; it fails where a picture
gets another answer when it comes again.
"""

import asyncio
import base64
import io
import json
import ssl
import statistics
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from tqdm import tqdm

from tools.bench_cache_tiers import Asker
from tools.load_generator import find_model, open_client
from tools.served import Served

_WORDS = "What is in this picture, and where in it?"
_TIMEOUT_SECONDS = 600.0


def parts(seed: int, side: int) -> list[dict[str, Any]]:
    """A message about a picture, so many pixels wide and three quarters as high."""
    squares = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(squares).resize((side, side * 3 // 4), Image.Resampling.NEAREST)
    picture.save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": _WORDS}]


async def _model(url: str) -> str:
    async with open_client("", ssl.create_default_context(), _TIMEOUT_SECONDS) as http:
        return await find_model(http, url)


@click.command(help="Measure what an image costs that comes again, on a server of our own.")
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--side", default=640, show_default=True, help="Pixels of a picture's longer side.")
@click.option("--rounds", default=5, show_default=True, help="Medians are of so many.")
def main(model: Path, side: int, rounds: int) -> None:
    """Run it."""
    with Served(model, ("--rows", "4", "--context", "4096")) as server:
        asker = Asker(server.url, asyncio.run(_model(server.url)))
        # What is slow the first time has no part in this.
        asker.ask(parts(rounds, side))
        new, again = [], []
        for number in tqdm(range(rounds), unit="picture", disable=None):
            new.append(asker.ask(parts(number, side)))
            again.append(asker.ask(parts(number, side)))
    cold, warm = (statistics.median(told.seconds for told in each) for each in (new, again))
    same = [told.text for told in new] == [told.text for told in again]
    result = {
        "prompt_tokens": new[0].prompt,
        "new_seconds": round(cold, 3),
        "again_of_new": round(warm / cold, 3),
        "cached_tokens": {"new": new[-1].cached, "again": again[-1].cached},
        "same_text": same,
    }
    print(json.dumps(result))
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
