"""How often the bundled model is right, asked through the server itself.

    python -m tools.eval_bundled --model runs/exported --markdown table.md

Held-out conversations of every skill go to `parlance serve`, a child of this program unless
`--url` names a running one, and come back through the real template, sampler, stop rules and
parser of calls. Each answer is judged by its skill's own judge. Beside that: what share of the
answers to noise, other languages and long prompts ends by itself. Shares have 95 % intervals
(Wilson 1927). The last line is one JSON object.
"""

import asyncio
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import httpx
from tqdm import tqdm

from serve.config import bundled_model
from tools.bundled_data.chat_format import response_format
from tools.bundled_data.conversations import ALL_SKILLS, Conversation, conversation
from tools.bundled_data.grammar import Split
from tools.bundled_data.judges import Call, JsonEqual, Reply
from tools.bundled_data.probes import PROBES
from tools.load_generator import find_model
from tools.served import Served

MAX_TOKENS = 400
STREAMS = 16
SECONDS = 300.0
# Two-sided 95 %.
Z = 1.959964


class TooLongError(Exception):
    """A request leaves too little of the context."""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        reply: the message.
        ended: whether it ended by itself.
    """

    reply: Reply
    ended: bool


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """Between 0 and 1; 0 of none."""
        return self.hits / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval (Wilson 1927)."""
        if not self.total:
            return 0.0, 1.0
        share, squared = self.value, Z * Z / self.total
        middle = share + squared / 2
        spread = Z * math.sqrt(share * (1 - share) / self.total + squared / (4 * self.total))
        low, high = ((middle + side * spread) / (1 + squared) for side in (-1, 1))
        return max(low, 0.0), min(high, 1.0)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.0f}–{100 * high:.0f})"

    def json(self) -> dict[str, Any]:
        """For the last line."""
        return {"share": round(self.value, 4), "of": self.total, "interval": self.interval}


class Server:
    """Where the questions go."""

    def __init__(self, http: httpx.AsyncClient, url: str, model: str) -> None:
        self._http, self._url, self._model = http, url, model
        self._free = asyncio.Semaphore(STREAMS)

    async def ask(self, fields: Mapping[str, Any]) -> Answer:
        """The answer to one request.

        Raises:
            TooLongError: the context has no room for it and for an answer of `MAX_TOKENS`.
            httpx.HTTPStatusError: the server refuses it for another reason.
        """
        body = {"model": self._model, "max_tokens": MAX_TOKENS, **fields}
        async with self._free:
            response = await self._http.post(f"{self._url}/chat/completions", json=body)
        if response.is_error and response.json()["error"]["code"] == "context_length_exceeded":
            raise TooLongError
        response.raise_for_status()
        completion = response.json()
        (choice,) = completion["choices"]
        message = choice["message"]
        calls = tuple(_call(entry["function"]) for entry in message.get("tool_calls") or ())
        ended = choice["finish_reason"] != "length"
        if not ended and completion["usage"]["completion_tokens"] < MAX_TOKENS:
            raise TooLongError
        thought = message.get("reasoning_content")
        return Answer(Reply.of(message["content"] or "", calls, thought), ended)

    async def ask_what_fits(self, text: str, temperature: float, seed: int) -> Answer:
        """The answer to `text`, cut so that the context has room for it and for the answer."""
        while True:
            message = {"role": "user", "content": text}
            fields = {"messages": [message], "temperature": temperature, "seed": seed}
            try:
                return await self.ask(fields)
            except TooLongError:
                text = text[: len(text) * 9 // 10]


def _call(function: Mapping[str, str]) -> Call:
    try:
        return Call(function["name"], json.loads(function["arguments"]))
    except ValueError:
        return Call(function["name"], {"": function["arguments"]})


def held_out(skill: str, seed: int, number: int) -> Iterator[Conversation]:
    """Conversations for one case of a skill, without end: the first that the context has room for.

    None has its thought closed by the template: the figures are those of requests that ask for
    nothing of the kind.
    """
    rng = random.Random(f"{seed}/{skill}/{number}")
    while True:
        item = conversation(rng, Split.HELD_OUT, skill)
        if not item.closed:
            yield item


def request_of(item: Conversation, temperature: float, seed: int) -> dict[str, Any]:
    """The request that asks for the conversation's last answer."""
    fields: dict[str, Any] = {
        "messages": list(item.messages[:-1]),
        "temperature": temperature,
        "seed": seed,
    }
    if item.tools:
        fields["tools"] = list(item.tools)
    if item.schema is not None:
        fields["response_format"] = response_format(item.schema)
    return fields


class Figures:
    """What has been counted, by temperature and by what it is a share of.

    Attributes:
        names: what is counted, in the order of the table.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._counts: dict[tuple[str, float], list[bool]] = {}

    def add(self, name: str, temperature: float, *, hit: bool) -> None:
        """Count one case."""
        self._counts.setdefault((name, temperature), []).append(hit)

    def share(self, name: str, temperature: float) -> Share:
        """What was counted under a name."""
        found = self._counts.get((name, temperature), [])
        return Share(sum(found), len(found))


FORMED, QUIET, ENDED = "JSON is well formed", "no call where none is due", "ends by itself"


def count(figures: Figures, item: Conversation, answer: Answer, temperature: float) -> None:
    """Judge one answer."""
    figures.add(item.skill, temperature, hit=answer.ended and item.judge.right(answer.reply))
    figures.add(ENDED, temperature, hit=answer.ended)
    if isinstance(item.judge, JsonEqual):
        figures.add(FORMED, temperature, hit=item.judge.formed(answer.reply))
    if item.skill == "no tool call":
        figures.add(QUIET, temperature, hit=not answer.reply.calls)


async def evaluate(
    server: Server, skills: Sequence[str], temperatures: Sequence[float], cases: int, seed: int
) -> tuple[Figures, list[dict[str, Any]]]:
    """Ask everything; returns the figures, and what was answered wrong."""
    probes = {f"{ENDED}: {name}": make for name, make in PROBES.items()}
    figures = Figures([*skills, FORMED, QUIET, ENDED, *probes])
    wrong: list[dict[str, Any]] = []
    total = len(temperatures) * cases * (len(skills) + len(PROBES))
    with tqdm(total=total, unit="answer", disable=None) as bar:

        async def judge(skill: str, temperature: float, number: int) -> None:
            for item in held_out(skill, seed, number):
                try:
                    answer = await server.ask(request_of(item, temperature, number))
                except TooLongError:
                    continue
                judged(item, answer, temperature)
                break

        def judged(item: Conversation, answer: Answer, temperature: float) -> None:
            count(figures, item, answer, temperature)
            if not item.judge.right(answer.reply):
                wrong.append(
                    {
                        "skill": item.skill,
                        "temperature": temperature,
                        "messages": item.messages,
                        "answer": answer.reply.text,
                        "thought": answer.reply.thought,
                        "calls": [(call.name, call.arguments) for call in answer.reply.calls],
                    }
                )
            bar.update()

        async def probe(name: str, text: str, temperature: float, number: int) -> None:
            answer = await server.ask_what_fits(text, temperature, number)
            figures.add(name, temperature, hit=answer.ended)
            bar.update()

        for temperature in temperatures:
            async with asyncio.TaskGroup() as tasks:
                for skill in skills:
                    for number in range(cases):
                        tasks.create_task(judge(skill, temperature, number))
                for name, make in probes.items():
                    rng = random.Random(f"{seed}/{name}")
                    for number in range(cases):
                        tasks.create_task(probe(name, make(rng), temperature, number))
    return figures, wrong


def markdown(figures: Figures, temperatures: Sequence[float]) -> str:
    """The figures as a table."""
    heads = [f"temperature {temperature:g}" for temperature in temperatures]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in figures.names:
        shares = [str(figures.share(name, temperature)) for temperature in temperatures]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


async def _asked(
    url: str, skills: Sequence[str], temperatures: Sequence[float], cases: int, seed: int
) -> tuple[Figures, list[dict[str, Any]]]:
    # A proxy of the environment would be measured instead of the given address.
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
        server = Server(http, url, await find_model(http, url))
        return await evaluate(server, skills, temperatures, cases, seed)


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="Checkpoint to serve and ask.")
@click.option("--url", help="A server that runs already, with /v1.")
@click.option("--skill", "skills", multiple=True, type=click.Choice(ALL_SKILLS))
@click.option("--cases", default=200, show_default=True, help="Conversations per skill.")
@click.option("--temperature", "temperatures", multiple=True, type=float, default=(0.0, 1.0))
@click.option("--seed", default=1, show_default=True)
@click.option("--markdown", "table", type=click.Path(path_type=Path), help="Write a table here.")
@click.option("--wrong", "wrong_to", type=click.Path(path_type=Path), help="Write misses here.")
def main(
    model: Path | None,
    url: str | None,
    skills: tuple[str, ...],
    cases: int,
    temperatures: tuple[float, ...],
    seed: int,
    table: Path | None,
    wrong_to: Path | None,
) -> None:
    """Measure the accuracy of the bundled model, or of another, skill by skill."""
    own = nullcontext() if url else Served(model or bundled_model(), ("--show-reasoning",))
    with own as served:
        address = url or (served.url if served else "")
        figures, wrong = asyncio.run(
            _asked(address, skills or ALL_SKILLS, temperatures, cases, seed)
        )
    if table is not None:
        table.write_text(markdown(figures, temperatures), encoding="utf-8")
    if wrong_to is not None:
        lines = (json.dumps(each, ensure_ascii=False) + "\n" for each in wrong)
        wrong_to.write_text("".join(lines), encoding="utf-8")
    result = {
        f"{temperature:g}": {
            name: figures.share(name, temperature).json() for name in figures.names
        }
        for temperature in temperatures
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
