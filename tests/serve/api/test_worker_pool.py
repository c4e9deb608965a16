"""Long bodies are read in processes of their own, in turns."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve.api.asking import worker_pool
from serve.api.asking.content_coding import Body
from serve.api.asking.conversation import ConversationRenderer
from serve.api.asking.draft import Drafter
from serve.api.asking.worker_handle import Worker
from serve.api.asking.worker_pool import WorkerPool
from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.engine.types import EngineInfo
from serve.kept_helper import AbandonedError
from serve.text.calls.detect import choose
from serve.text.render import Renderer
from serve.text.template import ChatTemplate

SMALL = 2**20
LONG = "a " * 400_000
_TWICE = (
    "{{{{ messages[0].content }}}}{{% if messages[0].content == 'grow' %}}"
    "{{% for a in range(9999) %}}{{% for b in range(9999) %}}{}{{% endfor %}}{{% endfor %}}"
    "{{% endif %}}"
)
GROWING, ENDLESS = _TWICE.format("{{ a }}"), _TWICE.format("")


def body(content: str = "Hi", **fields: Any) -> Body:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": content}], **fields}
    return Body(json.dumps(asked).encode())


@pytest.fixture(scope="session")
def make_drafter(make_tokenizer: Any, chatml: str) -> Callable[..., Drafter]:
    def make(template: str = chatml, **settings: Any) -> Drafter:
        tokenizer = make_tokenizer()
        renderer = Renderer(tokenizer, ChatTemplate(template))
        conversations = ConversationRenderer(renderer, choose("auto", template), True)
        info = EngineInfo(2**22, tokenizer.vocab_size, "fp_test")
        ends = frozenset({tokenizer.controls["<|im_end|>"]})
        return Drafter(conversations, info, ends, ApiSettings("tiny", **settings))

    return make


@pytest.fixture
async def pool(make_drafter: Any) -> AsyncIterator[WorkerPool]:
    made = WorkerPool(make_drafter(), SMALL, count=1)
    yield made
    made.close()


def processes_of(pool: WorkerPool) -> list[int]:
    helpers = [worker._helper for worker in pool._workers]
    return [helper._process.pid for helper in helpers if helper is not None]


async def test_a_process_makes_what_would_be_made_here(pool: WorkerPool, make_drafter: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    asked = body(
        "Grüße", tools=[tool], response_format=form, seed=3, stop=["x"], logit_bias={"7": 1}, n=2,
        metadata={"a": "b"}, stream=True, user="me",
        prediction={"type": "content", "content": "Grüße zurück"},
    )  # fmt: skip
    there = await pool.draft(asked, "chatcmpl-1", "")
    here = make_drafter().draft(asked, "chatcmpl-1")
    assert there == here
    assert type(there.submission.prompt) is type(there.submission.prediction) is list
    assert there.submission.prediction == list("Grüße zurück".encode())
    assert there.submission.id == "chatcmpl-1"
    # What answers are made with, and nothing that would be kept for nothing.
    wire = there.wire
    assert (wire.stops, wire.choices, wire.stream, wire.caller) == (("x",), 2, True, "me")
    assert (wire.metadata, wire.constrained_by) == ({"a": "b"}, "tools")
    assert not wire.messages
    assert wire.prediction is None
    told = await pool.draft(body(prompt_logprobs=3), "chatcmpl-2", "")
    assert (told.wire.prompt_logprobs, told.submission.prompt_logprobs) == (3, 3)


async def test_what_is_wrong_is_told_as_it_would_be_here(pool: WorkerPool) -> None:
    with pytest.raises(ApiError) as told:
        await pool.draft(body(temperature=9), "a", "")
    error = told.value
    assert (error.status, error.code) == (400, "decimal_above_max_value")
    assert (error.param, error.type) == ("temperature", "invalid_request_error")
    assert "2" in error.message
    assert str(error) == error.message


async def test_the_event_loop_goes_on(pool: WorkerPool) -> None:
    await pool.draft(body(), "a", "")
    job = asyncio.create_task(pool.draft(body(LONG), "b", ""))
    longest, last = 0.0, time.perf_counter()
    while not job.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert len((await job).submission.prompt) > len(LONG)
    assert longest < 0.1


async def test_whoever_leaves_frees_the_place(pool: WorkerPool) -> None:
    await pool.draft(body(), "a", "")
    (process,) = processes_of(pool)
    os.kill(process, signal.SIGSTOP)
    job = asyncio.create_task(pool.draft(body(LONG), "b", ""))
    waiting = asyncio.create_task(pool.draft(body(), "c", ""))
    await asyncio.sleep(0.05)
    left = asyncio.create_task(pool.draft(body(LONG), "d", ""))
    await asyncio.sleep(0)
    for leaving in (job, left):
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert (await waiting).submission.id == "c"
    assert processes_of(pool) != [process]
    assert (await pool.draft(body(), "e", "")).submission.id == "e"


async def test_a_process_that_dies_is_replaced_and_the_body_tried_again(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    await pool.draft(body(), "a", "")
    (process,) = processes_of(pool)
    os.kill(process, signal.SIGSTOP)
    job = asyncio.create_task(pool.draft(body(LONG), "b", ""))
    await asyncio.sleep(0.05)
    os.kill(process, signal.SIGSEGV)
    os.kill(process, signal.SIGCONT)
    assert (await job).submission.id == "b"
    (record,) = caplog.records
    assert "ended with SIGSEGV" in record.message


async def test_signals_to_all_processes_of_a_server_are_left_to_the_server(
    pool: WorkerPool,
) -> None:
    await pool.draft(body(), "a", "")
    (process,) = processes_of(pool)
    for ending in (signal.SIGTERM, signal.SIGINT):
        os.kill(process, ending)
    await pool.draft(body(), "b", "")
    assert processes_of(pool) == [process]


@pytest.mark.parametrize(
    ("limit", "told"), [("MOST_SECONDS", "too much time"), ("LEAST_MEMORY", "too much memory")]
)
async def test_a_body_that_takes_too_much_is_refused(
    make_drafter: Any, monkeypatch: pytest.MonkeyPatch, limit: str, told: str
) -> None:
    monkeypatch.setattr(worker_pool, limit, 0.05 if limit == "MOST_SECONDS" else 2**22)
    monkeypatch.setattr(worker_pool, "MEMORY_EACH_BYTE", 1)
    pool = WorkerPool(make_drafter(GROWING), SMALL, count=1)
    assert (await pool.draft(body(), "a", "")).submission.prompt
    with pytest.raises(ApiError, match=told) as refused:
        await pool.draft(body("grow"), "a", "")
    assert (refused.value.status, refused.value.code) == (413, "request_too_large")
    pool.close()


async def test_a_fault_of_ours_leaves_the_process_and_its_traceback(make_drafter: Any) -> None:
    drafter = make_drafter()
    pool = WorkerPool(replace(drafter, settings=None), SMALL, count=1)
    pool._pickled = worker_pool.pickle.dumps((pool._limits, replace(drafter, end_ids=None)))
    for name in ("a", "b"):
        with pytest.raises(RuntimeError, match=r"Traceback(.|\n)*TypeError"):
            await pool.draft(body(ignore_eos=True, logit_bias={"1": 1}), name, "")
    pool.close()


def test_no_key_is_sent_to_a_process(make_drafter: Any) -> None:
    pool = WorkerPool(make_drafter(api_keys=("secret-key",), caller_hash_key=b"hash-key"), SMALL)
    assert b"secret-key" not in pool._parts()
    assert b"hash-key" not in pool._parts()
    pool.close()


async def test_processes_end_with_the_pool(make_drafter: Any) -> None:
    pool = WorkerPool(make_drafter(), SMALL, count=2)
    pool.start()
    await asyncio.gather(*(pool.draft(body(), name, "") for name in "ab"))
    running = [worker._helper for worker in pool._workers]
    for process in processes_of(pool):
        os.kill(process, signal.SIGSTOP)
    busy = asyncio.create_task(pool.draft(body(LONG), "c", ""))
    await asyncio.sleep(0.02)
    pool.close()
    with pytest.raises(AbandonedError):
        await busy
    for helper in running:
        assert helper is not None
        assert helper._process.wait(timeout=5) == -signal.SIGKILL


def test_a_body_that_is_given_up_as_it_ends_costs_the_next_one_nothing(
    make_drafter: Any, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(lambda: parts(make_drafter))
    worker.draft(body(), "a")
    # The reply is there, and nobody has taken note of that yet.
    worker._busy_with = "a"
    worker.abandon("a")
    assert worker.draft(body(), "b").submission.id == "b"
    assert not caplog.records
    worker.close()


def test_a_process_ends_when_its_server_is_killed(make_drafter: Any) -> None:
    """Amid a body too, whose loop in the template would go on for minutes."""
    code = f"""
import sys, threading, time
sys.path[:] = {sys.path!r}
from serve.api.asking.content_coding import Body
from serve.api.asking.worker_handle import Worker
worker = Worker(lambda: bytes.fromhex({parts(make_drafter).hex()!r}))
helper, _ = worker.start()
print(helper._process.pid, flush=True)
worker.draft(Body({body("grow").data!r}), "a")
"""
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    process = int(server.stdout.readline())
    time.sleep(0.2)
    server.kill()
    server.wait()
    server.stdout.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def parts(make_drafter: Any) -> bytes:
    pool = WorkerPool(make_drafter(ENDLESS), SMALL, count=1)
    made = pool._parts()
    pool.close()
    return made


def test_reading_a_body_needs_no_jax() -> None:
    code = "import serve.api.asking.worker, sys; print({'jax', 'flax', 'quart'} & {*sys.modules})"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd(), check=True
    )
    assert ran.stdout == "set()\n"


async def test_a_worker_that_cannot_start_says_why() -> None:
    worker = Worker(lambda: b"not pickled")
    with pytest.raises(OSError, match=r"does not start: (.|\n)*UnpicklingError"):
        worker.start()
