"""What `verbosity` does to the length of answers, asked through the server itself.

    python -m tools.eval_verbosity --model runs/exported

Every line of a file of prompts is asked at each level, several times. Told are the mean lengths in
characters, and of neighbouring levels the p-value of the one-sided signed-rank test over the
prompts' means (Wilcoxon 1945): how likely such differences are if both are as long. The last line
is one JSON object.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import click
import httpx
import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from tqdm import tqdm

from serve.config import bundled_model
from tools.load_generator import file_prompts, find_model
from tools.served import Served

LEVELS = ("low", "medium", "high")
PROMPTS = Path(__file__).parents[1] / "tests" / "tools" / "bundled" / "newcomers.txt"
STREAMS = 8
SECONDS = 600.0


async def lengths(
    url: str, prompts: Sequence[str], answers: int, max_tokens: int, temperature: float
) -> dict[str, NDArray[np.float64]]:
    """Level → mean characters of the answers to each prompt, [prompts].

    Raises:
        httpx.HTTPError: the server did not answer.
    """
    # A proxy of the environment would be measured instead of the given address.
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
        model = await find_model(http, url)
        turn = asyncio.Semaphore(STREAMS)
        with tqdm(total=len(LEVELS) * len(prompts), unit="prompt", disable=None) as bar:

            async def ask(level: str, number: int) -> float:
                body: dict[str, Any] = {
                    "model": model,
                    "messages": [{"role": "user", "content": prompts[number]}],
                    "verbosity": level,
                    "n": answers,
                    "seed": number,
                    "temperature": temperature,
                    "max_completion_tokens": max_tokens,
                }
                async with turn:
                    response = await http.post(f"{url}/chat/completions", json=body)
                response.raise_for_status()
                bar.update()
                choices = response.json()["choices"]
                return float(np.mean([len(each["message"]["content"]) for each in choices]))

            return {
                level: np.array(
                    await asyncio.gather(*(ask(level, number) for number in range(len(prompts))))
                )
                for level in LEVELS
            }


def figures(measured: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """The mean of each level, and the p-value of each step up."""
    return {
        "characters": {level: round(float(measured[level].mean()), 1) for level in LEVELS},
        "p": {
            f"{less} < {more}": float(
                cast("Any", wilcoxon(measured[more], measured[less], alternative="greater")).pvalue
            )
            for less, more in pairwise(LEVELS)
        },
    }


@click.command(context_settings={"show_default": True})
@click.option("--model", type=click.Path(path_type=Path), help="Checkpoint to serve and ask.")
@click.option("--url", help="A server that runs already, with /v1.")
@click.option("--prompts", type=click.Path(path_type=Path), default=PROMPTS, help="One a line.")
@click.option("--answers", type=click.IntRange(1), default=4, help="To each prompt and level.")
@click.option("--max-tokens", type=click.IntRange(1), default=400, help="Of an answer.")
@click.option("--temperature", type=float, default=1.0)
def main(
    model: Path | None,
    url: str | None,
    prompts: Path,
    answers: int,
    max_tokens: int,
    temperature: float,
) -> None:
    """Measure how long answers are at each verbosity."""
    own = nullcontext() if url else Served(model or bundled_model(), ("--store", "off"))
    with own as served:
        address = url or (served.url if served else "")
        measured = asyncio.run(
            lengths(address, file_prompts(prompts), answers, max_tokens, temperature)
        )
    found = figures(measured)
    for level, characters in found["characters"].items():
        click.echo(f"{level}: {characters} characters")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
