import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request

from tools.bench_serve import full_load_rate, main, percentiles, summarize
from tools.load_generator import Load, Outcome, read_payload, word_prompt


@dataclass
class Server:
    """A server of the API on the loopback interface, with one token a word.

    Attributes:
        bodies: the JSON of the requests, in order of arrival.
        keys: their Authorization headers.
        most: most requests in flight at the same time.
        fail_after: answer 503 from this request on.
        usage: whether it sends usage.
        hang: never end an answer.
    """

    port: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    active: int = 0
    most: int = 0
    fail_after: int = 10**9
    usage: bool = True
    hang: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def app(self) -> Quart:
        app = Quart("fake")

        @app.get("/v1/models")
        async def models() -> dict[str, Any]:
            return {"data": [{"id": "listed"}]}

        @app.post("/v1/chat/completions")
        async def chat() -> Response:
            body = await request.get_json()
            self.bodies.append(body)
            self.keys.append(request.headers.get("authorization"))
            if len(self.bodies) > self.fail_after:
                return Response('{"error": {"message": "no more"}}', status=503)
            return Response(self.answer(body), mimetype="text/event-stream")

        return app

    async def answer(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            yield event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
            for _ in range(body["max_tokens"]):
                await asyncio.sleep(0.002)
                yield event({"choices": [{"delta": {"content": "word"}}], "usage": None})
            if self.hang:
                await asyncio.Event().wait()
            if self.usage:
                # Ten tokens of template around two tokens a word.
                words = len(body["messages"][0]["content"].split())
                tokens = {"prompt_tokens": 10 + 2 * words, "completion_tokens": body["max_tokens"]}
                yield event({"choices": [], "usage": tokens})
            yield b"data: [DONE]\n\n"
        finally:
            self.active -= 1


def event(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()


@pytest.fixture
def server() -> Iterator[Server]:
    fake = Server()
    listener = socket.create_server(("127.0.0.1", 0))
    fake.port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.graceful_timeout = 0.1
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        loop.run_until_complete(serve(fake.app(), config, shutdown_trigger=stop.wait))

    thread = threading.Thread(target=run)
    thread.start()
    yield fake
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def bench(server: Server, *arguments: str) -> tuple[Result, dict[str, Any]]:
    """The command's outcome, and the object of its last line."""
    result = CliRunner().invoke(main, ["--url", server.url, *arguments], env={})
    return result, json.loads(result.stdout.splitlines()[-1])


def test_figures_of_a_run(server: Server) -> None:
    result, figures = bench(
        server, "--streams=3", "--requests=7", "--warmup=2", "--max-tokens=5", "--prompt-tokens=50"
    )
    assert result.exit_code == 0
    assert (figures["completed"], figures["failed"], figures["given_up"]) == (7, 0, 0)
    assert figures["model"] == "listed"
    assert figures["completion_tokens"] == 35
    # 20 words of 2 tokens and 10 tokens of template.
    assert figures["prompt_tokens"] == 7 * 50
    assert figures["tokens_from"] == "usage"
    assert figures["errors"] == {}
    assert server.most == 3
    # Two requests measure the tokens of a word, two warm up.
    assert len(server.bodies) == 2 + 2 + 7
    # The seconds are given to a thousandth.
    assert 35 / figures["tokens_per_second"] == pytest.approx(figures["seconds"], abs=0.001)
    for name in ("ttft_ms", "inter_token_ms", "request_ms"):
        entry = figures[name]
        assert 0 < entry["p50"] <= entry["p90"] <= entry["p99"] <= entry["max"]
    # Five pauses of 2 ms lie in every answer.
    assert figures["request_ms"]["p50"] >= 10
    assert "7 of 7 requests completed" in result.stdout


def test_what_is_sent(server: Server) -> None:
    bench(
        server,
        *("--model=m", "--requests=3", "--warmup=0", "--max-tokens=2", "--temperature=0.5"),
        *("--api-key=sk-1", "--extra", '{"ignore_eos": true, "seed": 7}'),
    )
    measured = server.bodies[2:]
    prompts = {body["messages"][0]["content"] for body in measured}
    assert len(prompts) == 3
    for body in measured:
        assert body == {
            "model": "m",
            "messages": [{"role": "user", "content": body["messages"][0]["content"]}],
            "max_tokens": 2,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.5,
            "ignore_eos": True,
            "seed": 7,
        }
    assert set(server.keys) == {"Bearer sk-1"}


def test_prompts_of_a_file_are_sent_in_turn(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\n\ntwo words\n", encoding="utf-8")
    server.usage = False
    _, figures = bench(
        server,
        *("--prompt-file", str(path), "--streams=1", "--requests=3", "--warmup=0"),
        "--max-tokens=4",
    )
    sent = [body["messages"][0]["content"] for body in server.bodies]
    assert sent == ["one", "two words", "one"]
    assert "temperature" not in server.bodies[0]
    # Without usage the chunks with text are counted.
    assert (figures["completion_tokens"], figures["tokens_from"]) == (12, "chunks")


def test_failures_are_counted(server: Server) -> None:
    server.fail_after = 2 + 1 + 3
    result, figures = bench(server, "--streams=1", "--requests=5", "--warmup=1", "--max-tokens=2")
    assert result.exit_code == 1
    assert (figures["completed"], figures["failed"]) == (3, 2)
    assert figures["errors"] == {'status 503: {"error": {"message": "no more"}}': 2}


def test_the_time_is_bounded(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\n", encoding="utf-8")
    server.hang = True
    result, figures = bench(
        server,
        *("--prompt-file", str(path), "--streams=2", "--requests=5", "--warmup=0"),
        *("--max-tokens=2", "--time-limit=1"),
    )
    assert result.exit_code == 1
    assert (figures["completed"], figures["failed"] + figures["given_up"]) == (0, 5)


def test_no_server() -> None:
    # Port 1 of the loopback interface has no listener.
    result = CliRunner().invoke(main, ["--url", "http://127.0.0.1:1/v1"])
    assert result.exit_code == 2
    assert "http://127.0.0.1:1/v1/models gives no model" in result.stderr


@pytest.mark.parametrize("extra", ["{", "[1]", "1"])
def test_extra_that_is_no_object(extra: str) -> None:
    result = CliRunner().invoke(main, ["--extra", extra])
    assert result.exit_code == 2
    assert "JSON" in result.stderr


def test_percentiles() -> None:
    assert percentiles([0.001 * value for value in range(101)]) == {
        "p50": 50.0,
        "p90": 90.0,
        "p99": 99.0,
        "max": 100.0,
    }
    assert percentiles([]) is None


def load(streams: int, requests: int) -> Load:
    return Load("u", "m", streams, requests, 8, None, {}, 60.0)


def test_the_rate_under_full_load() -> None:
    # Two streams; the second's first text comes at 2, the first worker is out of work at 6.
    first = Outcome(started=0.0, arrivals=[1.0, 3.0, 4.0, 5.0], ended=6.0)
    second = Outcome(started=0.0, arrivals=[2.0, 4.5, 7.0], ended=8.0)
    # After 2 and until 6 come 3, 4, 4.5 and 5: four chunks in four seconds.
    assert full_load_rate([first, second], 2) == 1.0
    assert full_load_rate([first], 2) is None
    assert full_load_rate([first, Outcome(started=0.0, ended=8.0)], 2) is None


def test_the_summary() -> None:
    outcomes = [
        Outcome(started=10.0, arrivals=[10.5, 11.0], ended=12.0, completion_tokens=3),
        Outcome(started=11.0, arrivals=[11.5], ended=14.0, completion_tokens=5),
        Outcome(started=11.0, ended=11.1, error="status 429"),
    ]
    figures = summarize(load(2, 5), outcomes)
    # Eight tokens from 10 to 14.
    assert figures["tokens_per_second"] == 2.0
    assert figures["requests_per_second"] == 0.5
    assert (figures["completed"], figures["failed"], figures["given_up"]) == (2, 1, 2)
    assert figures["ttft_ms"]["p50"] == 500.0
    assert figures["inter_token_ms"]["max"] == 500.0
    assert figures["request_ms"]["max"] == 3000.0


def test_an_error_in_the_stream() -> None:
    outcome = Outcome(started=0.0)
    read_payload(outcome, b'{"error": {"message": "m", "code": "engine_dead"}}', 1.0)
    assert outcome.error == "in the stream: engine_dead"


def test_prompts_differ_from_the_first_word_on() -> None:
    prompts = [word_prompt(6, seed) for seed in range(50)]
    assert {len(prompt.split()) for prompt in prompts} == {6}
    assert len({prompt.split()[0] for prompt in prompts}) == 50
    assert word_prompt(6, 1) == word_prompt(6, 1)
