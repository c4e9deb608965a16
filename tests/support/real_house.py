"""The HTTP side on a real engine, whose tiny model of random weights cooperates in nothing."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from support.engines import bridged
from support.tiny import TINY, tiny_model

from model.tokenizer import Tokenizer
from serve.api.settings import ApiSettings
from serve.app import create_app
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.runner import Runner
from serve.engine.types import EngineInfo
from serve.metrics import Metrics
from serve.text.render import Renderer
from serve.text.template import ChatTemplate

CONTEXT = 512


def random_engine(size: int, rows: int = 4) -> Engine:
    """A started engine with a vocabulary of that size, which may be more than tokenizers have.

    Deterministic, so that a stream can be compared with a plain answer.
    """
    config = EngineConfig(
        context_length=CONTEXT,
        cache_tokens=max(8, rows) * CONTEXT,
        max_rows=rows,
        prefill_chunk=64,
        deterministic=True,
        check_integrity=True,
    )
    model = tiny_model(replace(TINY, vocab_size=size, context_length=CONTEXT))
    engine = Engine(Runner(model, config), config, EngineInfo(CONTEXT, size, "fp_test"))
    engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    return engine


@dataclass
class RealHouse:
    """An application around an engine."""

    client: Any

    async def post(self, body: Any) -> Any:
        """The response to a chat completion."""
        return await self.client.post("/v1/chat/completions", json=body)

    async def choices(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The choices of a request, put together again if it is streamed."""
        response = await self.post(body)
        data = (await response.get_data()).decode()
        assert response.status_code == 200, data
        if not body.get("stream"):
            return json.loads(data)["choices"]
        # Where the machine has other things to do, there may be comments that keep the line open.
        lines = [line[6:] for line in data.split("\n\n") if line.startswith("data: ")]
        assert lines.pop() == "[DONE]"
        return reassembled([json.loads(line) for line in lines])


def reassembled(chunks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stream's choices as a plain response has them; checks what each delta may hold."""
    choices: dict[int, dict[str, Any]] = {}
    for told in (choice for chunk in chunks for choice in chunk["choices"]):
        delta, index = told["delta"], told["index"]
        if index not in choices:
            assert set(delta) == {"role", "content", "refusal"}
            message = {**delta, "annotations": []}
            fresh = {"index": index, "message": message, "logprobs": None, "finish_reason": None}
            choices[index] = fresh
            continue
        choice = choices[index]
        assert choice["finish_reason"] is None
        message = choice["message"]
        if "content" in delta:
            assert not {"tool_calls", "function_call"} & set(message)
            message["content"] = (message["content"] or "") + delta["content"]
        for piece in delta.get("tool_calls", ()):
            _add_call(message.setdefault("tool_calls", []), piece)
        if "function_call" in delta:
            _add_function_call(message, delta["function_call"])
        if told["logprobs"]:
            held = choice["logprobs"] or {"content": [], "refusal": None}
            choice["logprobs"] = {**held, "content": held["content"] + told["logprobs"]["content"]}
        choice["finish_reason"] = told["finish_reason"]
    return [choices[index] for index in sorted(choices)]


def _add_call(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    if "id" in piece:
        kind = piece["type"]
        text = {"function": "arguments", "custom": "input"}[kind]
        assert set(piece) == {"index", "id", "type", kind}
        assert piece["index"] == len(calls)
        assert piece[kind] == {"name": piece[kind]["name"], text: ""}
        calls.append({key: value for key, value in piece.items() if key != "index"})
        return
    call = calls[piece["index"]]
    assert piece["index"] == len(calls) - 1
    assert set(piece) == {"index", call["type"]}
    ((text, more),) = piece[call["type"]].items()
    assert more
    body = call[call["type"]]
    call[call["type"]] = {**body, text: body[text] + more}


def _add_function_call(message: dict[str, Any], piece: dict[str, Any]) -> None:
    if "function_call" not in message:
        assert piece == {"name": piece["name"], "arguments": ""}
        message["function_call"] = piece
        return
    assert set(piece) == {"arguments"}
    body = message["function_call"]
    message["function_call"] = {**body, "arguments": body["arguments"] + piece["arguments"]}


@asynccontextmanager
async def real_house(
    engine: Engine,
    tokenizer: Tokenizer,
    template: str,
    end_ids: frozenset[int],
    **settings: Any,
) -> AsyncIterator[RealHouse]:
    """An application around a running engine."""
    async with bridged(engine) as bridge:
        app = create_app(
            bridge,
            Renderer(tokenizer, ChatTemplate(template)),
            tokenizer,
            end_ids,
            ApiSettings(model_id="tiny", **settings),
            Metrics(),
        )
        yield RealHouse(app.test_client())
