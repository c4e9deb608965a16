"""The load: requests over HTTP, so many at a time, and what became of each.

Asks the given address only. Every made-up prompt begins differently, so that a prefix cache
does not flatter the figures. Knows nothing of what serves it, nor of statistics.
"""

import asyncio
import json
import random
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from serve.event_stream import EventStreamReader

_WORDS = """
time year people way day man thing woman life child world school state family student group
country problem hand part place case week company system program question work night point home
water room mother area money story fact month lot right study book eye job word business issue
side kind head house service friend father power hour game line end member law car city name team
minute idea body back parent face level office door
""".split()  # noqa: SIM905  (a list would be a line a word)
_CALIBRATION_WORDS = 16


class LoadError(Exception):
    """The measurement cannot begin; the message says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    Attributes:
        url: base address of the API, with its `/v1`.
        model: name of the model.
        streams: requests in flight at the same time.
        requests: requests that are measured.
        max_tokens: longest answer.
        temperature: 0 to 2, or None to leave the field out.
        extra: further fields of every body.
        time_limit: seconds after which what still runs is given up.
    """

    url: str
    model: str
    streams: int
    requests: int
    max_tokens: int
    temperature: float | None
    extra: Mapping[str, Any]
    time_limit: float

    def body(self, prompt: str) -> bytes:
        """The JSON of a request."""
        fields: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.temperature is not None:
            fields["temperature"] = self.temperature
        return json.dumps(fields | dict(self.extra)).encode()


@dataclass(slots=True)
class Outcome:
    """What became of one request. Times are seconds of `time.perf_counter`.

    Attributes:
        started: when the request was sent.
        arrivals: when each chunk with text came.
        ended: when the stream closed.
        prompt_tokens: from the usage, 0 where the server sends none.
        completion_tokens: from the usage, -1 where the server sends none.
        error: why it failed; empty when it completed.
    """

    started: float
    arrivals: list[float] = field(default_factory=list[float])
    ended: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = -1
    error: str = ""

    @property
    def tokens(self) -> int:
        """Tokens of the answer: as the server counts them, else the chunks with text."""
        return len(self.arrivals) if self.completion_tokens < 0 else self.completion_tokens


def word_prompt(words: int, seed: int) -> str:
    """`words` common words, different from the first one on for every seed."""
    drawn = random.Random(seed).choices(_WORDS, k=max(words - 1, 0))
    return " ".join([f"{seed}:", *drawn])


def read_payload(outcome: Outcome, payload: bytes, now: float) -> None:
    """Add what one event of a stream says to `outcome`."""
    chunk = json.loads(payload)
    if "error" in chunk:
        outcome.error = f"in the stream: {chunk['error'].get('code') or chunk['error']['message']}"
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        if delta.get("content") or delta.get("reasoning_content"):
            outcome.arrivals.append(now)
            break
    usage = chunk.get("usage")
    if usage:
        outcome.prompt_tokens = usage.get("prompt_tokens") or 0
        outcome.completion_tokens = usage.get("completion_tokens") or 0


async def ask(http: httpx.AsyncClient, load: Load, prompt: str) -> Outcome:
    """Send one request and read its stream to the end."""
    outcome = Outcome(started=time.perf_counter())
    reader = EventStreamReader()
    done = False
    try:
        async with http.stream(
            "POST", f"{load.url}/chat/completions", content=load.body(prompt)
        ) as response:
            if not response.is_success:
                await response.aread()
                outcome.error = f"status {response.status_code}: {response.text[:160]}"
            else:
                async for data in response.aiter_raw():
                    now = time.perf_counter()
                    for payload in reader.feed(data):
                        if payload == b"[DONE]":
                            done = True
                        else:
                            read_payload(outcome, payload, now)
                if not done and not outcome.error:
                    outcome.error = "the stream ended without [DONE]"
    except httpx.HTTPError as error:
        outcome.error = f"{type(error).__name__}: {error}"
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        outcome.error = f"a chunk that is not the API's: {error!r}"
    outcome.ended = time.perf_counter()
    return outcome


async def run_load(
    clients: Sequence[httpx.AsyncClient], load: Load, prompts: Iterator[str], bar: "tqdm[Any]"
) -> list[Outcome]:
    """Send `load.requests` requests, one at a time from each client.

    Those given up at the time limit are left out.
    """
    outcomes: list[Outcome] = []
    numbers = iter(range(load.requests))

    async def worker(http: httpx.AsyncClient) -> None:
        for _ in numbers:
            outcomes.append(await ask(http, load, next(prompts)))
            bar.update()

    workers = [asyncio.create_task(worker(http)) for http in clients]
    _, late = await asyncio.wait(workers, timeout=load.time_limit)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*workers, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return outcomes


def open_client(api_key: str, tls: ssl.SSLContext, time_limit: float) -> httpx.AsyncClient:
    """A client for one stream; sharing one costs httpx time that grows with the streams."""
    return httpx.AsyncClient(
        headers={"Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
        timeout=httpx.Timeout(time_limit, connect=10.0),
        verify=tls,
        # A proxy of the environment would be measured instead of the given address.
        trust_env=False,
    )


async def find_model(http: httpx.AsyncClient, url: str) -> str:
    """The first model that the server lists.

    Raises:
        LoadError: no server there, or it lists none.
    """
    try:
        response = await http.get(f"{url}/models")
        response.raise_for_status()
        return str(response.json()["data"][0]["id"])
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
        raise LoadError(f"{url}/models gives no model ({error}); name one with --model") from error


async def words_for(http: httpx.AsyncClient, load: Load, tokens: int) -> int:
    """How many words make a prompt of about `tokens` tokens, measured with two requests.

    Raises:
        LoadError: a request failed, or the server reports no usage.
    """
    counts: list[int] = []
    for words in (1, 1 + _CALIBRATION_WORDS):
        outcome = await ask(http, load, word_prompt(words, seed=10**6))
        if outcome.error or not outcome.prompt_tokens:
            raise LoadError(
                "the length of a prompt cannot be measured "
                f"({outcome.error or 'the server sends no usage'}); give --prompt-file instead"
            )
        counts.append(outcome.prompt_tokens)
    per_word = (counts[1] - counts[0]) / _CALIBRATION_WORDS
    return max(1, 1 + round((tokens - counts[0]) / per_word)) if per_word > 0 else tokens


def file_prompts(path: Path) -> list[str]:
    """The prompts of a file, one a line.

    Raises:
        LoadError: the file cannot be read, or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read: {error}") from error
    prompts = [line for line in lines if line.strip()]
    if not prompts:
        raise LoadError(f"{path} holds no prompt; write one a line")
    return prompts
