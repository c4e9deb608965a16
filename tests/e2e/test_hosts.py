"""One server in several processes: the same bytes, an orderly end, and none left behind."""

import asyncio
import json
import random
import shutil
import signal
import threading
import time

import httpx
import pytest
from support.host_group import LOSS_SECONDS, HostGroup, running_group, spawned_group

from model import bundled

MODEL = "parlance-bundled"
DETERMINISTIC = ("--deterministic", "--rows", "16")
TEXTS = ["Hello!", "What is the capital of Italy?", "Reverse the word stone.", "x y " * 150]
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
KINDS = [
    {},
    {"n": 3, "frequency_penalty": 0.6, "presence_penalty": 0.4},
    {"logit_bias": {"20": 4.5, "300": -100}, "top_k": 50, "min_p": 0.01},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}},
    {"logprobs": True, "top_logprobs": 3, "n": 2},
    {"temperature": 0, "stop": ["e", "12"]},
    {"min_tokens": 8, "top_p": 0.8},
    {"repetition_penalty": 1.3, "stop_token_ids": [40, 50]},
    {"stream": False, "prompt_logprobs": 2, "n": 2},
]


def question(index: int) -> dict:
    rng = random.Random(index)
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": rng.choice(TEXTS)}],
        "max_tokens": rng.randint(8, 32),
        "temperature": rng.choice([0.5, 1, 1.5]),
        "seed": rng.randrange(2**63),
        "stream": True,
        **KINDS[index % len(KINDS)],
    }


async def answer(http: httpx.AsyncClient, asked: dict) -> list[tuple[str, str, list[str]]]:
    """Text, finish reason and tokens of each choice; those of the prompt where it is told."""
    if not asked["stream"]:
        told = (await http.post("/chat/completions", json=asked)).json()
        # Ids, the likeliest among them: the numbers are another mesh's, and not the same bits.
        prompt = [" ".join(entry or ()) for entry in told["prompt_logprobs"]]
        return [
            (choice["message"]["content"], choice["finish_reason"], prompt)
            for choice in told["choices"]
        ]
    texts, tokens, finishes = {}, {}, {}
    async with http.stream("POST", "/chat/completions", json=asked) as response:
        assert response.status_code == 200
        lines = [line[6:] async for line in response.aiter_lines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    for choice in (choice for line in lines for choice in json.loads(line)["choices"]):
        index = choice["index"]
        texts[index] = texts.get(index, "") + choice["delta"].get("content", "")
        tokens.setdefault(index, [])
        tokens[index] += [each["token"] for each in (choice["logprobs"] or {}).get("content", [])]
        finishes[index] = choice["finish_reason"]
    return [(texts[index], finishes[index], tokens[index]) for index in sorted(texts)]


def answers(server, count: int) -> list[list[tuple[str, str, list[str]]]]:
    """Those to so many questions, all asked at once."""

    async def ask() -> list:
        async with httpx.AsyncClient(base_url=server.url, timeout=None, trust_env=False) as http:
            return await asyncio.gather(*(answer(http, question(i)) for i in range(count)))

    return asyncio.run(ask())


class EndlessStream:
    """A stream that goes on until the server breaks it off."""

    def __init__(self, group: HostGroup) -> None:
        self.events: list[str] = []
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(group.server.url,), daemon=True)
        self._thread.start()
        assert self._begun.wait(60), group.output

    def _read(self, url: str) -> None:
        asked = question(0) | {"max_tokens": 1900, "ignore_eos": True}
        try:
            with httpx.stream("POST", f"{url}/chat/completions", json=asked, timeout=60) as got:
                for line in got.iter_lines():
                    if line.startswith("data: "):
                        self.events.append(line[6:])
                        if len(self.events) > 10:
                            self._begun.set()
        except httpx.HTTPError as error:
            self.events.append(repr(error))

    def last(self) -> str:
        self._thread.join(LOSS_SECONDS)
        assert not self._thread.is_alive()
        return self.events[-1]


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url.removesuffix('/v1')}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_processes_that_were_started_differently_are_refused(compile_cache):
    with spawned_group(compile_cache, [["--rows", "16"], ["--rows", "8"]]) as group:
        assert group.exit_codes(60) == [2, 2]
        for member in group.members:
            member.reader.join(10)
            assert member.lines[-1] == (
                "parlance: process 1 has 8 for rows where process 0 has 16; start all processes "
                "with the same settings, checkpoint and versions\n"
            ), group.output


def test_a_model_that_a_follower_lacks_ends_all(compile_cache, tmp_path):
    """The digests tell before anything is loaded."""
    with spawned_group(compile_cache, [[], ["--model", str(tmp_path / "none")]]) as group:
        assert group.exit_codes(60) == [2, 2], group.output
        assert "process 1 has missing for the checkpoint's digest" in group.output


@pytest.mark.slow
def test_a_cache_that_no_host_can_hold_ends_all(compile_cache):
    flags = ["--cache-tokens", "1000000000"]
    with spawned_group(compile_cache, [flags, flags]) as group:
        assert group.exit_codes(90) == [2, 2], group.output
    # Whichever finds out first says so, and tells it to the other.
    assert "parlance: a cache of 1000000000 tokens takes " in group.output
    for process in (0, 1):
        assert "a cache of 1000000000 tokens takes " in group.text(process)
    assert "Traceback" not in group.output


@pytest.mark.slow
def test_what_stops_one_process_is_told_by_the_other(compile_cache, tmp_path):
    template = tmp_path / "mine.jinja"
    template.write_text("{{ unclosed")
    with spawned_group(compile_cache, [["--chat-template", str(template)], []]) as group:
        assert group.exit_codes(90) == [2, 2], group.output
    said = [f"parlance: line 1 of {template} is wrong: " in group.text(i) for i in range(2)]
    assert said == [True, True]

    # The tokenizer is none of what the digest of a checkpoint covers.
    shutil.copytree(bundled.directory(), tmp_path / "model")
    (tmp_path / "model" / "tokenizer.model").unlink()
    with spawned_group(compile_cache, [[], ["--model", str(tmp_path / "model")]]) as group:
        assert group.exit_codes(90) == [2, 2], group.output
    assert "process 1 cannot start: " in group.text(0)
    assert "has no tokenizer" in group.text(0)
    assert f"parlance: {tmp_path / 'model'} has no tokenizer" in group.text(1)


@pytest.mark.parametrize("alone", [0, 1])
def test_a_process_that_stays_alone_ends_with_a_sentence(compile_cache, alone):
    soon = "import serve.hosts.processes as p\np._RENDEZVOUS_SECONDS = 3"
    flags = [[]] if alone == 0 else [["--process-id", "1"]]
    with spawned_group(compile_cache, flags, count=2, before=soon) as group:
        assert group.exit_codes(60) == [1]
    assert "the other processes were not there within 3 s; start all" in group.output


@pytest.mark.slow
def test_32_mixed_streams_of_four_processes_are_those_of_one(compile_cache, deterministic_server):
    with running_group(compile_cache, 4, *DETERMINISTIC) as group:
        assert answers(group.server, 32) == answers(deterministic_server, 32)
        assert group.server.metric("parlance_engine_compilations_total") == 0
        group.server.wait_idle(30)
        stream = EndlessStream(group)
        group.members[2].process.kill()
        assert json.loads(stream.last())["error"]["code"] == "engine_dead"
        assert 0 not in group.exit_codes(), group.output


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_the_loss_of_a_follower_ends_streams_readiness_and_all(compile_cache, blow):
    with running_group(compile_cache, 2, *DETERMINISTIC) as group:
        stream = EndlessStream(group)
        assert is_ready(group.server.url)
        group.members[1].process.send_signal(blow)
        assert json.loads(stream.last())["error"]["code"] == "engine_dead"
        assert not is_ready(group.server.url)
        assert group.server.process.wait(LOSS_SECONDS) == 1, group.output
        group.members[1].process.send_signal(signal.SIGCONT)
        assert 0 not in group.exit_codes(), group.output


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_the_loss_of_the_first_process_ends_its_followers(compile_cache, blow):
    with running_group(compile_cache, 2, *DETERMINISTIC) as group:
        EndlessStream(group)
        group.server.process.send_signal(blow)
        assert group.members[1].process.wait(LOSS_SECONDS) != 0, group.output
        group.server.process.send_signal(signal.SIGCONT)
        assert 0 not in group.exit_codes(), group.output


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 1])
def test_a_stop_lets_streams_end_and_ends_all_with_0(compile_cache, asked):
    with running_group(compile_cache, 2, *DETERMINISTIC) as group:
        stream = EndlessStream(group)
        group.members[asked].process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while is_ready(group.server.url) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_ready(group.server.url)
        assert group.exit_codes(90) == [0, 0], group.output
        stream.last()
