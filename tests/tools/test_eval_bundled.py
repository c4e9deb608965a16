import asyncio
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from tools.bundled_data.conversations import ALL_SKILLS, Conversation
from tools.bundled_data.probes import PROBES
from tools.eval_bundled import (
    MAX_TOKENS,
    Figures,
    Server,
    Share,
    evaluate,
    held_out,
    main,
    markdown,
    request_of,
)

SEED, CASES = 5, 6


def test_intervals_are_wilsons() -> None:
    assert Share(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Share(0, 10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert Share(10, 10).interval == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_a_table_has_a_line_for_each_name() -> None:
    figures = Figures(["facts"])
    for hit in (True, True, False, True):
        figures.add("facts", 0.0, hit=hit)
    figures.add("facts", 1.0, hit=True)
    assert markdown(figures, (0.0, 1.0)) == (
        "| | temperature 0 | temperature 1 |\n|---|---|---|\n"
        "| facts | 75.0 % (30–95) | 100.0 % (21–100) |\n"
    )


def test_held_out_conversations_are_the_same_each_time() -> None:
    once, again, other = (
        [item.messages for item in islice(held_out("thinking switches", SEED, number), 20)]
        for number in (3, 3, 4)
    )
    assert once == again
    assert once != other


def key(fields: dict[str, Any]) -> str:
    return json.dumps([fields["messages"], fields.get("tools")], sort_keys=True)


def message_of(item: Conversation) -> dict[str, Any]:
    message = dict(item.messages[-1])
    if item.thoughts[-1] is not None:
        message["content"] = f"<think>\n{item.thoughts[-1]}\n</think>\n\n{message['content']}"
    return message


def asked(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Figures:
    """The figures of a server that answers so."""

    def respond(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        length = len(body["messages"][0]["content"])
        if length > 4000:
            return httpx.Response(400, json={"error": {"code": "context_length_exceeded"}})
        # What comes near to the context's end is cut there, and is no answer that runs on.
        near = {"message": {"content": ""}, "finish_reason": "length"}
        choice, tokens = (near, 7) if length > 3500 else (answer(body), MAX_TOKENS)
        usage = {"completion_tokens": tokens}
        return httpx.Response(200, json={"choices": [choice], "usage": usage})

    async def measure() -> Figures:
        transport = httpx.MockTransport(respond)
        async with httpx.AsyncClient(transport=transport) as http:
            server = Server(http, "http://server/v1", "m")
            figures, wrong = await evaluate(server, ALL_SKILLS, (0.0,), CASES, SEED)
        right = sum(figures.share(skill, 0.0).hits for skill in ALL_SKILLS)
        assert len(wrong) == CASES * len(ALL_SKILLS) - right
        return figures

    return asyncio.run(measure())


def test_the_right_answers_are_all_right() -> None:
    known = {
        key(request_of(item, 0.0, 0)): message_of(item)
        for skill in ALL_SKILLS
        for item in (next(held_out(skill, SEED, number)) for number in range(CASES))
    }

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        message = known.get(key(body), {"role": "assistant", "content": "?"})
        return {"message": message, "finish_reason": "stop"}

    figures = asked(answer)
    assert len(figures.names) == len(ALL_SKILLS) + len(PROBES) + 3
    assert {figures.share(name, 0.0).value for name in figures.names} == {1.0}


def test_nonsense_that_does_not_end_is_all_wrong() -> None:
    call = {"function": {"name": "weather", "arguments": "no JSON"}}
    message = {"role": "assistant", "content": "Nonsense.", "tool_calls": [call]}
    figures = asked(lambda body: {"message": message, "finish_reason": "length"})
    assert {figures.share(name, 0.0).value for name in figures.names} == {0.0}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_bundled_model_through_a_server_of_its_own(tmp_path: Path) -> None:
    table, wrong = tmp_path / "table.md", tmp_path / "wrong.jsonl"
    arguments = ["--cases", "4", "--skill", "small talk", "--skill", "tool calls"]
    arguments += ["--temperature", "0", "--markdown", str(table), "--wrong", str(wrong)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output.splitlines()[-1])["0"]
    assert figures["small talk"]["of"] == figures["tool calls"]["of"] == 4
    assert figures["ends by itself: long prompts"]["of"] == 4
    assert "| small talk |" in table.read_text()
    misses = [json.loads(line) for line in wrong.read_text().splitlines()]
    right = sum(figures[skill]["share"] * 4 for skill in ("small talk", "tool calls"))
    assert len(misses) == 8 - right
