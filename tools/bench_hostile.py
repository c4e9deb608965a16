"""What hostile requests do to other callers' streams: the worst gap, and the memory taken.

    python -m tools.bench_hostile                      # the dearest of all shapes, four streams
    python -m tools.bench_hostile --streams 1 --only 'messages: '

Starts a server and keeps streams running. First every shape of `dear_requests.py` is sent alone in
a small size, the dearest in a larger one, and what they take is extrapolated; then the dearest, a
few of each way, are sent in full by several clients at once. Right before each the streams are
measured in quiet: a ratio is the worst gap over the median gap in quiet, and `noise` the same of
the worst gap in quiet. The last line is one JSON object.
"""

import json
import math
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
from tqdm import tqdm

from serve.config import bundled_model
from tools.crowd import Answer, Crowd, Sending
from tools.dear_answers import DEAR_ANSWERS
from tools.dear_requests import DearRequest, dear_requests
from tools.process_memory import MemoryMark, proportional
from tools.served import Served
from tools.stream_watch import Gaps, StreamWatch

SCREEN_BYTES = (48_000, 160_000)
# How many times as many shapes are screened in the larger size as are measured.
SCREEN_TWICE = 4
# After the answers, in which what they leave behind may still hold up streams.
AFTER_SECONDS = 0.3
# How much longer than ever the usual gap may be where it is quiet.
MOST_RESTLESS = 2.5
MEBI = 2**20


def sending_of(
    model: str, clients: int, seconds: float, name: str, size: int, alone: bool
) -> Sending:
    """What is sent of the shape `name`."""
    for answer in DEAR_ANSWERS:
        if answer.name == name:
            body = answer.bodies(model)(size)
            return Sending(body, {}, answer.clients or clients, answer.reads, seconds)
    shape = _shapes(model)[name]
    return Sending(shape.body(size), shape.headers, 1 if alone else clients, "whole", seconds)


@cache
def _shapes(model: str) -> dict[str, DearRequest]:
    return {shape.name: shape for shape in dear_requests(model)}


@dataclass
class Bench:
    """A server, streams of it that are watched, and a crowd.

    Attributes:
        server: that is measured.
        watch: the streams.
        crowd: sends what is hostile.
        quiet_seconds: for which streams are measured before each shape.
        settle_seconds: how long to wait for quiet at most.
    """

    server: Served
    watch: StreamWatch
    crowd: Crowd
    quiet_seconds: float
    settle_seconds: float
    _fastest: float = math.inf

    def send(self, *, alone: bool = False) -> tuple[Gaps, list[Answer]]:
        """Send what is prepared, and watch until all is over."""
        self.crowd.go()
        ended = math.inf

        def over() -> bool:
            nonlocal ended
            if ended == math.inf and self.crowd.done:
                ended = time.perf_counter()
            return time.perf_counter() >= ended + (0 if alone else AFTER_SECONDS)

        gaps = self.watch.until(over)
        return gaps, self.crowd.answers()

    def screen(self, names: Sequence[str], size: int, most: int) -> dict[str, float]:
        """What the dearest shapes may take in that size, in seconds, from what small ones take."""
        small, large = SCREEN_BYTES
        first = {name: self._alone(name, small) for name in _bar(names, f"{small} bytes")}
        dear = sorted(names, key=lambda name: -first[name])[:most]
        again = {name: self._alone(name, small) for name in _bar(dear, f"{small} bytes, again")}
        second = {name: self._alone(name, large) for name in _bar(dear, f"{large} bytes")}
        return {
            name: extrapolated(min(first[name], again[name]), second[name], size) for name in dear
        }

    def _alone(self, name: str, size: int) -> float:
        self.crowd.prepare(name, size, True)
        _, answers = self.send(alone=True)
        return answers[0].seconds

    def settle(self) -> tuple[Gaps, float]:
        """The streams in quiet, and how long it took until it was quiet."""
        began = time.perf_counter()
        while True:
            quiet = self.watch.for_seconds(self.quiet_seconds)
            seconds = time.perf_counter() - began
            usual = statistics.median(quiet.between) if quiet.between else math.inf
            self._fastest = min(self._fastest, usual)
            calm = len(quiet.between) > MOST_RESTLESS and usual < MOST_RESTLESS * self._fastest
            if (
                calm and max(quiet.between) < 4 * MOST_RESTLESS * usual
            ) or seconds > self.settle_seconds:
                return quiet, seconds - self.quiet_seconds

    def measure(self, name: str, size: int) -> dict[str, Any]:
        """The figures of one shape."""
        self.crowd.prepare(name, size, False)
        quiet, _ = self.settle()
        root = self.server.process_id
        before, mark = proportional(root), MemoryMark.of(root)
        self.watch.for_seconds(0.1)
        gaps, answers = self.send()
        _, after = self.settle()
        peak = mark.peak()
        # Where it never gets quiet, the streams say nothing at all.
        restless = quiet.between or [self.settle_seconds]
        usual = statistics.median(quiet.between) if quiet.between else self._fastest
        seen = gaps.between or gaps.first
        return {
            "shape": name,
            "statuses": dict(Counter(str(answer.status or "none") for answer in answers)),
            "code": code_of(answers),
            "answer_s": round(max(answer.seconds for answer in answers), 3),
            "after_s": round(after, 2),
            "usual_ms": round(1e3 * usual, 2),
            "quiet_p99_ms": round(1e3 * float(np.percentile(restless, 99)), 2),
            "quiet_max_ms": round(1e3 * max(restless), 2),
            "gap_p50_ms": round(1e3 * statistics.median(seen), 2),
            "gap_p99_ms": round(1e3 * float(np.percentile(seen, 99)), 2),
            "gap_max_ms": round(1e3 * max(gaps.between, default=0.0), 2),
            "first_max_ms": round(1e3 * max(gaps.first, default=0.0), 2),
            "ratio": round(max(gaps.between + gaps.first) / usual, 1),
            "noise": round(max(restless) / usual, 1),
            "peak_mb": round(peak / MEBI, 1),
            "kept_mb": round((proportional(root) - before) / MEBI, 1),
            "streams_failed": gaps.failures,
        }


def extrapolated(first: float, second: float, size: int) -> float:
    """Seconds at `size` bytes, from those at `SCREEN_BYTES`: between linear and square."""
    small, large = SCREEN_BYTES
    power = math.log(second / first) / math.log(large / small)
    return second * (size / large) ** min(max(power, 1.0), 2.0)


def _bar(names: Sequence[str], words: str) -> Iterable[str]:
    return tqdm(names, desc=f"screening, {words}", disable=None)


def code_of(answers: Sequence[Answer]) -> str:
    """The code of an error that was answered, if there was one."""
    for answer in answers:
        if found := re.search(rb'"code": ?"(\w+)"', answer.start):
            return found[1].decode()
    return ""


def dearest(estimates: dict[str, float], count: int, per_way: int) -> list[str]:
    """The names of the largest estimates, at most `per_way` of each way of being large."""
    chosen: list[str] = []
    ways: Counter[str] = Counter()
    for name in sorted(estimates, key=lambda name: -estimates[name]):
        way = name.partition(": ")[2]
        if ways[way] < per_way and len(chosen) < count:
            ways[way] += 1
            chosen.append(name)
    return chosen


def described(row: dict[str, Any]) -> str:
    """One line for a person."""
    return (
        f"{row['ratio']:8.1f}x (noise {row['noise']:5.1f}x of {row['usual_ms']:.1f} ms)  "
        f"{row['answer_s']:7.2f} s, after {row['after_s']:.1f} s  "
        f"+{row['peak_mb']:.0f} MiB, kept {row['kept_mb']:.0f}  "
        f"{row['statuses']} {row['code']}  {row['shape']}"
    )


def summary(rows: Sequence[dict[str, Any]], streams: int, size: int) -> dict[str, Any]:
    """The last line."""
    worst = max(rows, key=lambda row: row["ratio"])
    largest = max(rows, key=lambda row: row["peak_mb"])
    slowest = max(rows, key=lambda row: row["answer_s"])
    return {
        "streams": streams,
        "bytes": size,
        "worst_ratio": worst["ratio"],
        "worst_shape": worst["shape"],
        "worst_noise": max(row["noise"] for row in rows),
        "peak_mb": largest["peak_mb"],
        "peak_shape": largest["shape"],
        "slowest_s": slowest["answer_s"],
        "slowest_shape": slowest["shape"],
        "shapes": rows,
    }


def model_of(url: str) -> str:
    """The name of the model that is served."""
    return httpx.get(f"{url}/models", timeout=30, trust_env=False).json()["data"][0]["id"]


def measured(bench: Bench, names: Sequence[str], size: int) -> Iterator[dict[str, Any]]:
    """The figures of each shape, told as they come."""
    for name in tqdm(names, desc="shapes", disable=None):
        row = bench.measure(name, size)
        tqdm.write(described(row))
        yield row


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.option("--model", type=click.Path(path_type=Path), help="Checkpoint; else the bundled one.")
@click.option("--streams", type=click.IntRange(1), default=4, help="Streams that are watched.")
@click.option("--clients", type=click.IntRange(1), default=6, help="Who send each shape at once.")
@click.option("--size", type=click.IntRange(1), default=4_000_000, help="Bytes of each body.")
@click.option("--only", default="", help="Measure the shapes whose names match, all of them.")
@click.option("--count", default=24, help="How many of the dearest shapes to measure.")
@click.option("--per-way", default=3, help="How many of them may be large in the same way.")
@click.option("--quiet-seconds", default=0.7, help="How long streams are measured in quiet.")
@click.option("--seconds", default=30.0, help="After which clients without an answer leave.")
@click.option("--settle-seconds", default=60.0, help="How long to wait for quiet at most.")
@click.option("--answers/--no-answers", default=True, help="Measure dear answers too.")
@click.argument("flags", nargs=-1)
def main(
    model: Path | None,
    streams: int,
    clients: int,
    size: int,
    only: str,
    count: int,
    per_way: int,
    quiet_seconds: float,
    seconds: float,
    settle_seconds: float,
    answers: bool,
    flags: tuple[str, ...],
) -> None:
    """Measure what hostile requests do to others; FLAGS go to `parlance serve`."""
    with Served(model or bundled_model(), flags) as server:
        name = model_of(server.url)
        names = [shape.name for shape in dear_requests(name)]
        told = [answer.name for answer in DEAR_ANSWERS] if answers else []
        make: Callable[..., Sending] = partial(sending_of, name, clients, seconds)
        with (
            closing(StreamWatch(server.url, name, streams)) as watch,
            Crowd(server.url, make) as crowd,
        ):
            bench = Bench(server, watch, crowd, quiet_seconds, settle_seconds)
            if only:
                chosen = [one for one in [*names, *told] if re.search(only, one)]
            else:
                chosen = (
                    dearest(bench.screen(names, size, SCREEN_TWICE * count), count, per_way) + told
                )
            rows = list(measured(bench, chosen, size))
    if not rows:
        raise click.UsageError(f"no shape's name matches {only!r}")
    rows.sort(key=lambda row: -row["ratio"])
    print(json.dumps(summary(rows, streams, size)))


if __name__ == "__main__":
    main()
