"""What a prediction saves, and what a useless one costs.

    parlance serve --model MODEL
    python -m tools.bench_prediction --url http://127.0.0.1:8000/v1 --tokens 400

Has the model write a text without a prediction, at temperature 0: that is the file that is to be
written again. Then asks the same with that text as the prediction, with a few of its words
changed, so that the answer leaves the prediction as often and meets it again, and with a text
that has nothing to do with it. The kinds take turns; what is measured is the time of a whole
answer over HTTP. Whatever the model is worth, its answers have to be the same with any
prediction: where they are not, this ends with 1. Its last line is one JSON object.
"""

import json
import random
import statistics
import sys
import time
from typing import Any

import click
import httpx
from tqdm import tqdm

from tools.load_generator import word_prompt

_TIMEOUT_SECONDS = 600.0


def changed(text: str, words: int, seed: int) -> str:
    """The text with so many of its words replaced, spread evenly."""
    generator, parts = random.Random(seed), text.split(" ")
    for number in range(words):
        at = (2 * number + 1) * len(parts) // (2 * words)
        parts[at] = f"{parts[at]}{generator.randrange(10, 100)}"
    return " ".join(parts)


class Writer:
    """Asks for one text again and again."""

    def __init__(self, http: httpx.Client, url: str, model: str, tokens: int) -> None:
        self._http = http
        self._url = f"{url}/chat/completions"
        self._body = {
            "model": model,
            "messages": [{"role": "user", "content": "Write a long story about a river."}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
        }

    def write(self, prediction: str | None) -> tuple[float, str, dict[str, int]]:
        """Seconds, the text, and how many tokens of the prediction were of use."""
        fields: dict[str, Any] = {}
        if prediction is not None:
            fields["prediction"] = {"type": "content", "content": prediction}
        began = time.perf_counter()
        response = self._http.post(self._url, json=self._body | fields)
        seconds = time.perf_counter() - began
        if response.is_error:
            raise click.ClickException(
                f"the server answers {response.status_code}: {response.text}"
            )
        answer = response.json()
        details = answer["usage"]["completion_tokens_details"]
        counts = {name: details[f"{name}_prediction_tokens"] for name in ("accepted", "rejected")}
        return seconds, answer["choices"][0]["message"]["content"], counts


@click.command(help="Measure what predictions save and cost on a server of the API.")
@click.option("--url", default="http://127.0.0.1:8000/v1", show_default=True)
@click.option("--tokens", default=400, show_default=True, help="Length of the text.")
@click.option("--words", default=3, show_default=True, help="Words that are changed.")
@click.option("--rounds", default=3, show_default=True, help="Medians are of so many.")
def main(url: str, tokens: int, words: int, rounds: int) -> None:
    """Run it."""
    with httpx.Client(timeout=_TIMEOUT_SECONDS) as http:
        model = http.get(f"{url}/models").raise_for_status().json()["data"][0]["id"]
        writer = Writer(http, url, model, tokens)
        _, text, _ = writer.write(None)
        kinds = {
            "none": None,
            "whole": text,
            "changed": changed(text, words, seed=1),
            "useless": word_prompt(tokens, seed=2),
        }
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        counts: dict[str, dict[str, int]] = {}
        same = True
        for _ in tqdm(range(rounds), unit="round", disable=None):
            for kind, prediction in kinds.items():
                seconds, found, counts[kind] = writer.write(prediction)
                times[kind].append(seconds)
                same = same and found == text
    medians = {kind: statistics.median(found) for kind, found in times.items()}
    result = {
        "model": model,
        "tokens": tokens,
        "seconds": {kind: round(seconds, 3) for kind, seconds in medians.items()},
        "faster": {
            kind: round(medians["none"] / medians[kind], 3) for kind in kinds if kind != "none"
        },
        "prediction_tokens": counts,
        "same_text": same,
    }
    print(json.dumps(result))
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
