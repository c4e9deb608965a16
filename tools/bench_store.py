"""How long the store takes, however much it holds: pages of lists, one by one, and what comes new.

    python -m tools.bench_store --completions 10000
    python -m tools.bench_store --store postgresql://user@host/empty

Fills a store, then asks for pages of 100 from all over it and stores more, many at a time. The
last line is one JSON object: medians in milliseconds, completions stored in a second while the
store was filled, and MiB of memory that the process had gained when all pages had been read.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from serve.api.wire.names import new_id
from serve.api.wire.stored import listed, stored_completion
from serve.store.kept import Asked, CompletionFilter, Cut
from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings

_PAGE = 100
_AT_A_TIME = 32
_FIELDS = '{"request_id":"req_0","tools":null,"tool_choice":null,"seed":null,"input_user":null}'


def _asked(number: int, text: str) -> Asked:
    return Asked(
        id=new_id("chatcmpl"),
        owner="bench",
        created=int(time.time()),
        model="bench",
        metadata={"number": str(number), "tenth": str(number % 10)},
        fields=_FIELDS,
        messages=[json.dumps({"role": "user", "content": text})],
    )


async def _keep(store: Store, number: int, text: str) -> None:
    asked = _asked(number, text)
    await store.completions.reserve(asked)
    answer = json.dumps({"id": asked.id, "choices": [{"message": {"content": text}}]})
    await store.completions.finish(asked.id, asked.created, answer)


async def _fill(store: Store, count: int, text: str) -> float:
    began = time.perf_counter()
    with tqdm(total=count, desc="storing", disable=None) as progress:
        for start in range(0, count, _AT_A_TIME):
            numbers = range(start, min(start + _AT_A_TIME, count))
            await asyncio.gather(*(_keep(store, number, text) for number in numbers))
            progress.update(len(numbers))
    return count / (time.perf_counter() - began)


async def _page(store: Store, cut: Cut, chosen: CompletionFilter) -> tuple[str | None, int]:
    """The last id of a page that goes on, and how many entries it has."""
    page = await store.completions.list("bench", cut, chosen)
    objects = [stored_completion(e.answer, e.fields, e.metadata) for e in page.entries]
    listed(objects, [entry.id for entry in page.entries], has_more=page.has_more)
    return (page.entries[-1].id if page.has_more else None), len(objects)


async def _walk(store: Store, chosen: CompletionFilter) -> tuple[list[float], int]:
    """Seconds of each page of a whole list, and how many entries there were."""
    seconds, after, total = list[float](), None, 0
    while True:
        began = time.perf_counter()
        after, count = await _page(store, Cut(_PAGE, after), chosen)
        seconds.append(time.perf_counter() - began)
        total += count
        if after is None:
            return seconds, total


async def _median(times: int, work: Callable[[], Awaitable[object]]) -> float:
    seconds: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


async def measure(place: str, completions: int, characters: int) -> dict[str, Any]:
    """All figures, of a store that is empty at first."""
    store, text = Store(StoreSettings(place), StoreMetrics()), "x" * characters
    await _keep(store, 0, text)
    before = _resident()
    rate = await _fill(store, completions - 1, text)
    pages, total = await _walk(store, CompletionFilter())
    tenths, tenth = await _walk(store, CompletionFilter(metadata={"tenth": "3"}))
    walked = _resident()
    last = await store.completions.list("bench", Cut(1, newest_first=True), CompletionFilter())
    name = last.entries[0].id
    figures = {
        "completions": total,
        "page_ms": _ms(statistics.median(pages)),
        "slowest_page_ms": _ms(max(pages)),
        "filtered": tenth,
        "filtered_page_ms": _ms(statistics.median(tenths)),
        "get_ms": _ms(await _median(50, lambda: store.completions.get("bench", name))),
        "store_ms": _ms(await _median(50, lambda: _keep(store, 0, text))),
        "stored_per_second": round(rate, 1),
        "gained_mib": round(walked - before, 1),
    }
    await store.close()
    return figures


@click.command()
@click.option("--store", default="", help="A place without a store.  [default: a new file]")
@click.option("--completions", default=10_000, show_default=True)
@click.option("--characters", default=1_000, show_default=True, help="Of each message and answer.")
def main(store: str, completions: int, characters: int) -> None:
    """Measure a store."""
    with tempfile.TemporaryDirectory() as directory:
        place = store or str(Path(directory) / "store.sqlite")
        figures = asyncio.run(measure(place, completions, characters))
    click.echo(json.dumps({"kind": "postgresql" if "://" in place else "sqlite", **figures}))


if __name__ == "__main__":
    main()
