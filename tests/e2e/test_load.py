"""Many clients at once: streams stay whole, vanished clients leave nothing, seeds repeat."""

import asyncio
import json
import random
import time

import httpx
import pytest
from support.server_process import end_server, start_server

MODEL = "parlance-bundled"
# For servers of one test's own: few programs to compile.
SMALL = ("--rows", "2", "--context", "256", "--prefill-chunk", "64")
TEXTS = [
    "Hello!",
    "What is the capital of Italy?",
    "Repeat: 🦊 fox 日本語 é",
    "Reverse the word stone.",
    "What is 3 + 4?",
    "x" * 300,
    "Γειά σου Κόσμε, what is this? " * 10,
]


def body(rng: random.Random, **fields) -> dict:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": rng.choice(TEXTS)}],
        "max_tokens": rng.randint(1, 60),
        "temperature": rng.choice([0, 0.5, 1, 2]),
        "top_p": rng.choice([0.3, 0.9, 1]),
        "seed": rng.randrange(2**63),
        "n": rng.choice([1, 1, 1, 2, 4]),
        **fields,
    }


async def plain(http: httpx.AsyncClient, asked: dict) -> list[tuple[str, str]]:
    """Text and finish reason of each choice."""
    response = await http.post("/chat/completions", json=asked)
    assert response.status_code == 200, response.text
    return [
        (choice["message"]["content"], choice["finish_reason"])
        for choice in response.json()["choices"]
    ]


async def streamed(http: httpx.AsyncClient, asked: dict) -> list[tuple[str, str]]:
    """The same from a stream, whose form is checked on the way."""
    choices = asked.get("n", 1)
    texts, finishes, ids, openings = [""] * choices, [""] * choices, set(), []
    done = False
    async with http.stream("POST", "/chat/completions", json=asked | {"stream": True}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if not line.startswith("data: "):
                assert line in ("", ": keep-alive")
                continue
            assert not done
            if line == "data: [DONE]":
                done = True
                continue
            chunk = json.loads(line.removeprefix("data: "))
            ids.add(chunk["id"])
            (choice,) = chunk["choices"]
            index, delta = choice["index"], choice["delta"]
            assert not finishes[index], "a chunk after the choice's end"
            if "role" in delta:
                openings.append(index)
            else:
                assert "�" not in delta.get("content", "") or choice["finish_reason"] is None
            texts[index] += delta.get("content") or ""
            finishes[index] = choice["finish_reason"] or ""
    assert done
    assert len(ids) == 1
    assert openings == list(range(choices))
    assert all(finishes)
    return list(zip(texts, finishes, strict=True))


def client(server) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=300)
    return httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits, trust_env=False)


async def test_64_mixed_streams_are_whole_and_leave_nothing_behind(server):
    rng = random.Random(1)
    before = server.metric("parlance_engine_compilations_total")
    async with client(server) as http:
        results = await asyncio.gather(*(streamed(http, body(rng)) for _ in range(64)))
    assert all(finish in ("stop", "length") for choices in results for _, finish in choices)
    assert server.metric("parlance_engine_compilations_total") == before
    server.wait_idle(30)


async def test_200_vanishing_clients(server):
    rng = random.Random(2)

    async def vanish(http: httpx.AsyncClient, stream: bool) -> None:
        asked = body(rng, max_tokens=1500, temperature=2, top_p=1, stream=stream)
        try:
            async with asyncio.timeout(rng.uniform(0.0, 2.0)):
                async with http.stream("POST", "/chat/completions", json=asked) as response:
                    async for _ in response.aiter_raw():
                        pass
        except (TimeoutError, httpx.HTTPError):
            pass

    async with client(server) as http:
        for _ in range(2):
            await asyncio.gather(*(vanish(http, index % 2 == 0) for index in range(100)))
        # Uncancelled, a hundred answers of 1,500 tokens would go on for a minute and more.
        await asyncio.to_thread(server.wait_idle, 15)
        assert await plain(http, body(rng, n=1))


async def test_a_seeded_request_repeats_its_bytes_alone_and_among_32(deterministic_server):
    rng = random.Random(3)
    asked = [
        body(random.Random(seed), temperature=1.3, max_tokens=40, n=1 + seed % 2)
        for seed in range(6)
    ]
    async with client(deterministic_server) as http:
        alone = [await plain(http, each) for each in asked]
        crowd = [streamed(http, body(rng)) for _ in range(16)]
        crowd += [plain(http, body(rng)) for _ in range(16)]
        mine = [ask(http, each) for each in asked for ask in (plain, streamed)]
        mixed = crowd + mine
        rng.shuffle(mixed)
        results = dict(zip(map(id, mixed), await asyncio.gather(*mixed), strict=True))
        repeated = [results[id(task)] for task in mine]
    for index, first in enumerate(alone):
        assert repeated[2 * index] == first
        assert repeated[2 * index + 1] == first
    deterministic_server.wait_idle(30)


@pytest.mark.parametrize("stops", [["e"], ["in", "o w"], ["\n", "é", "日本"]])
async def test_stop_strings_cut_streams_and_plain_answers_alike(deterministic_server, stops):
    async with client(deterministic_server) as http:
        for seed in range(8):
            asked = body(random.Random(seed), stop=stops, max_tokens=60, temperature=1.5, n=1)
            answer = await plain(http, asked)
            assert await streamed(http, asked) == answer
            assert not any(stop in answer[0][0] for stop in stops)


async def test_concatenated_streams_equal_plain_answers_over_languages(deterministic_server):
    """At temperature 2 the small model babbles in bytes: characters split across tokens."""
    async with client(deterministic_server) as http:
        for seed in range(12):
            asked = body(
                random.Random(seed), temperature=2, top_p=1, max_tokens=120, n=2, seed=seed
            )
            answer, again = await asyncio.gather(plain(http, asked), streamed(http, asked))
            assert answer == again


def test_the_first_request_after_ready_is_not_special(server):
    """Nothing is compiled for any request: neither the first nor an odd one."""
    assert server.metric("parlance_engine_compilations_total") == 0


async def test_a_full_queue_answers_429_but_not_to_another_caller(compile_cache):
    tight = await asyncio.to_thread(start_server, compile_cache, *SMALL, "--queue-limit", "2")
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
    try:
        async with client(tight) as http:
            greedy = asked | {"n": 4, "max_tokens": 200, "ignore_eos": True}
            never = await http.post("/chat/completions", json=greedy | {"n": 5})
            assert (never.status_code, never.json()["error"]["param"]) == (400, "n")
            filling = asyncio.create_task(http.post("/chat/completions", json=greedy))
            while (await http.get(f"{tight.root}/health")).json()["waiting"] < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            refused = await http.post("/chat/completions", json=asked)
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "queue_full"
            assert int(refused.headers["retry-after"]) >= 1
            another = await http.post("/chat/completions", json=asked | {"user": "b"})
            assert another.status_code == 200
            assert not filling.done()
            assert (await filling).status_code == 200
    finally:
        await asyncio.to_thread(end_server, tight)


def test_a_killed_engine_ends_streams_readiness_and_the_process(compile_cache):
    fault = """
import serve.engine.runner as runner
execute, calls = runner.Runner.execute, iter(range(10**6))
def failing(self, plan):
    if next(calls) == 20:
        raise RuntimeError("injected fault")
    return execute(self, plan)
runner.Runner.execute = failing
"""
    doomed = start_server(compile_cache, *SMALL, before=fault)
    try:
        asked = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 200,
            "ignore_eos": True,
            "n": 2,
            "stream": True,
        }
        url = f"{doomed.url}/chat/completions"
        with httpx.stream("POST", url, json=asked, timeout=60) as response:
            lines = [line for line in response.iter_lines() if line.startswith("data: ")]
        error = json.loads(lines[-1].removeprefix("data: "))["error"]
        assert (error["type"], error["code"]) == ("server_error", "engine_dead")
        deadline = time.monotonic() + 20
        while doomed.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert doomed.process.poll() == 1
        assert "injected fault" in "".join(doomed.lines)
    finally:
        end_server(doomed)


def test_a_dead_engine_that_may_stay_is_not_ready(compile_cache):
    fault = """
import serve.engine.runner as runner
def failing(self, plan):
    raise RuntimeError("injected fault")
runner.Runner.execute = failing
"""
    doomed = start_server(compile_cache, *SMALL, "--no-exit-on-engine-death", before=fault)
    try:
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
        for _ in range(2):
            response = httpx.post(f"{doomed.url}/chat/completions", json=asked, timeout=30)
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "engine_dead"
        assert httpx.get(f"{doomed.root}/health/ready", timeout=60).status_code == 503
        assert httpx.get(f"{doomed.root}/health/live", timeout=60).status_code == 200
    finally:
        end_server(doomed)
