"""Shared by the tests of the HTTP side: a byte tokenizer, ChatML, an engine that plays a script."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from quart import Quart

from serve.api.settings import ApiSettings
from serve.app import create_app
from serve.engine.hearing import Hears
from serve.engine.types import (
    EngineInfo,
    EngineState,
    EngineStats,
    EngineUnavailableError,
    GenerationRequest,
    PromptLogprobs,
    TokenEvent,
    TokenLogprobs,
)
from serve.filter.content_filter import ContentFilter
from serve.gathering import Senses
from serve.metrics import Metrics
from serve.protocol.serving import serve
from serve.protocol.settings import HttpConfig
from serve.search.types import SearchProvider
from serve.sight import Sight
from serve.text.render import Renderer
from serve.text.template import ChatTemplate

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ByteTokenizer:
    """Ids 0 to 255 are bytes; then come given pieces of several bytes, then control tokens."""

    def __init__(
        self,
        pieces: Sequence[bytes] = (),
        controls: Sequence[str] = ("<|im_start|>", "<|im_end|>", "</s>"),
        strips: Mapping[str, tuple[bool, bool]] | None = None,
    ) -> None:
        self._bytes: list[bytes | None] = [bytes([n]) for n in range(256)]
        self._bytes += pieces
        self._controls = {name: len(self._bytes) + n for n, name in enumerate(controls)}
        self._strips = {self._controls[name]: sides for name, sides in (strips or {}).items()}
        self._names = {token: name for name, token in self._controls.items()}
        self._bytes += [None] * len(controls)

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    @property
    def controls(self) -> Mapping[str, int]:
        return self._controls

    @property
    def named(self) -> Mapping[str, str]:
        return {}

    @property
    def opening(self) -> tuple[int, ...]:
        return ()

    @property
    def strips(self) -> Mapping[int, tuple[bool, bool]]:
        return self._strips

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes | None:
        return self._bytes[token] if token < self.vocab_size else None

    def token_text(self, token: int) -> str:
        if token >= self.vocab_size:
            return ""
        exact = self._bytes[token]
        return self._names[token] if exact is None else exact.decode(errors="replace")

    def spell(self, ids: Sequence[int]) -> str:
        """Ids as text, control tokens in double brackets."""
        return b"".join(self._bytes[n] or f"[[{self._names[n]}]]".encode() for n in ids).decode()


# A script's step: events of one engine step, seconds to wait, an error to raise, or None to
# wait until cancelled.
Step = Sequence[TokenEvent] | float | Exception | None


def one_token_a_step(texts: Sequence[str]) -> Callable[[GenerationRequest], list[Step]]:
    """Choice i says `texts[i % len]`, a byte a step, then ends its turn; obeys `max_tokens`."""

    def plan(request: GenerationRequest) -> list[Step]:
        answers = [texts[i % len(texts)].encode() for i in range(request.choices)]
        steps: list[Step] = []
        for position in range(max(map(len, answers)) + 1):
            batch: list[TokenEvent] = []
            for choice, answer in enumerate(answers):
                if position >= request.max_tokens or position > len(answer):
                    continue
                if position == len(answer):
                    batch.append(TokenEvent(choice, None, "stop"))
                else:
                    last = position == request.max_tokens - 1
                    batch.append(TokenEvent(choice, answer[position], "length" if last else None))
            if batch:
                steps.append(batch)
        return steps

    return plan


def made_up_logprobs(token: int) -> TokenLogprobs:
    """The token itself is the likeliest, then every seventh id; each 0.25 less than the last."""
    ids = tuple((token + 7 * rank) % 259 for rank in range(20))
    return TokenLogprobs(-0.25, ids, tuple(-0.25 * (rank + 1) for rank in range(20)))


def made_up_prompt_logprobs(request: GenerationRequest) -> list[PromptLogprobs]:
    """Parts of 7 places: the prompt's tokens have -0.5 and rank 99; the likeliest are A, B, C …,
    each with 0.25 less than the last."""
    count = request.prompt_logprobs
    if count is None:
        return []
    likeliest = list(range(65, 65 + count)), [-0.25 * (place + 1) for place in range(count)]
    parts = [request.prompt[start : start + 7] for start in range(1, len(request.prompt), 7)]
    return [
        PromptLogprobs(
            np.array(part),
            np.full(len(part), -0.5),
            np.full(len(part), 99),
            *(np.tile(row, (len(part), 1)) for row in likeliest),
        )
        for part in parts
    ]


class FakeGeneration:
    def __init__(self, request: GenerationRequest, steps: Sequence[Step], cached: int) -> None:
        self.request = request
        self.cancels: list[int | None] = []
        self.cached_tokens = cached
        self.ended = False
        self.prompt_logprobs = made_up_prompt_logprobs(request)
        self._live = set(range(request.choices))
        self._steps = steps
        self._cancelled = asyncio.Event()

    @property
    def running(self) -> bool:
        return bool(self._live)

    def cancel(self, choice: int | None = None) -> None:
        self.cancels.append(choice)
        self._live -= set(self._live) if choice is None else {choice}
        if not self._live:
            self._cancelled.set()

    async def __aiter__(self) -> AsyncIterator[Sequence[TokenEvent]]:
        for step in self._steps:
            await asyncio.sleep(0)
            if step is None:
                await self._cancelled.wait()
            elif isinstance(step, Exception):
                raise step
            elif isinstance(step, int | float):
                await asyncio.sleep(step)
            else:
                batch = [event for event in step if event.choice in self._live]
                self._live -= {event.choice for event in batch if event.finish_reason}
                if batch:
                    yield [self._with_logprobs(event) for event in batch]
            if not self._live:
                break
        self.ended = True

    def _with_logprobs(self, event: TokenEvent) -> TokenEvent:
        """The engine's promise: where they are asked for, every token has them."""
        wanted = self.request.sampling.logprobs and event.token is not None
        if not wanted or event.logprobs is not None:
            return event
        return replace(event, logprobs=made_up_logprobs(event.token))


@dataclass
class FakeEngine:
    """Plays a script for each request and remembers what it was asked."""

    plan: Callable[[GenerationRequest], Sequence[Step]] = field(
        default_factory=lambda: one_token_a_step(["Hello!"])
    )
    context_length: int = 4096
    vocab_size: int = 259
    most_choices: int = 1000
    image_tokens: int = 4096
    cached_tokens: int = 0
    state: EngineState = EngineState.READY
    refuse: Exception | None = None
    generations: list[FakeGeneration] = field(default_factory=list, repr=False)
    stats: EngineStats = field(
        default_factory=lambda: EngineStats(running=3, waiting=2, pages_total=64, steps=17)
    )

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            self.context_length,
            self.vocab_size,
            "fp_test",
            {"platform": "cpu"},
            self.most_choices,
            image_tokens=self.image_tokens,
        )

    def submit(self, request: GenerationRequest) -> FakeGeneration:
        if self.refuse is not None:
            raise self.refuse
        if self.state is not EngineState.READY:
            raise EngineUnavailableError(self.state)
        generation = FakeGeneration(request, self.plan(request), self.cached_tokens)
        self.generations.append(generation)
        return generation

    @property
    def request(self) -> GenerationRequest:
        return self.generations[-1].request


@dataclass
class House:
    """An application around a fake engine."""

    app: Quart
    engine: FakeEngine
    tokenizer: ByteTokenizer
    metrics: Metrics

    async def post(self, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Any:
        """POST a chat completion; keyword `x_y` becomes header `x-y`."""
        data = json.dumps(body).encode() if raw is None else raw
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.app.test_client().post(
            "/v1/chat/completions",
            data=data,
            headers={"Content-Type": "application/json", **named},
        )

    async def get(self, path: str, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.app.test_client().get(path, headers=named)

    async def prompt_of(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """What the engine was asked for these messages."""
        response = await self.post({"model": "tiny", "messages": messages})
        assert response.status_code == 200, await response.get_data()
        return self.tokenizer.spell(self.engine.request.prompt)


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., ByteTokenizer]:
    return ByteTokenizer


@pytest.fixture(scope="session")
def chatml() -> str:
    return CHATML


@pytest.fixture(scope="session")
def answering() -> Callable[..., Callable[[GenerationRequest], list[Step]]]:
    """A plan that says the given texts: `make_house(plan=answering("Hi"))`."""

    def make(*texts: str) -> Callable[[GenerationRequest], list[Step]]:
        return one_token_a_step(texts)

    return make


@pytest.fixture(scope="session")
def make_house() -> Callable[..., House]:
    """Builds an application; keywords go to the engine, `settings=` to the HTTP side."""

    def make(
        *,
        template: str = CHATML,
        settings: Mapping[str, Any] | None = None,
        pieces: Sequence[bytes] = (),
        content_filter: ContentFilter | None = None,
        controls: Sequence[str] = (),
        sight: Sight | None = None,
        hearing: Hears | None = None,
        search: SearchProvider | None = None,
        speaker: Any = None,
        **engine: Any,
    ) -> House:
        tokenizer = ByteTokenizer(pieces, ("<|im_start|>", "<|im_end|>", "</s>", *controls))
        fake = FakeEngine(**{"vocab_size": tokenizer.vocab_size, **engine})
        metrics = Metrics()
        app = create_app(
            fake,
            Renderer(tokenizer, ChatTemplate(template), sight.form if sight else None),
            tokenizer,
            frozenset({tokenizer.controls["<|im_end|>"]}),
            ApiSettings(model_id="tiny", aliases=("gpt-4o",), created=1_700_000_000)
            if settings is None
            else ApiSettings(
                **{"model_id": "tiny", "aliases": ("gpt-4o",), "created": 1_700_000_000, **settings}
            ),
            metrics,
            content_filter,
            Senses(sight=sight, hearing=hearing, search=search, speaker=speaker),
        )
        return House(app, fake, tokenizer, metrics)

    return make


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    return make_house()


@pytest.fixture(scope="session")
def ask() -> Callable[..., dict[str, Any]]:
    """A valid request with the given fields added."""

    def make(**fields: Any) -> dict[str, Any]:
        return {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], **fields}

    return make


@pytest.fixture(scope="session")
def read_stream() -> Callable[[bytes], list[Any]]:
    """A stream's body as its chunks, the last one the string `[DONE]` if it is there."""

    def read(body: bytes) -> list[Any]:
        blocks = body.decode().split("\n\n")
        assert blocks.pop() == "", "the stream does not end with a blank line"
        chunks: list[Any] = []
        for block in blocks:
            if block.startswith(":"):
                continue
            assert block.startswith("data: "), block
            data = block.removeprefix("data: ")
            chunks.append(data if data == "[DONE]" else json.loads(data))
        return chunks

    return read


@pytest.fixture
def listening() -> Callable[..., Any]:
    """An application behind a real socket: `async with listening(app) as base_url`.

    Keywords are settings of connections.
    """

    @asynccontextmanager
    async def run(app: Quart, **settings: Any) -> AsyncIterator[str]:
        stop = asyncio.Event()
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()  # who comes before the server waits for it
            config = HttpConfig()
            for name, value in settings.items():
                assert hasattr(config, name)
                setattr(config, name, value)
            config.bind = [f"fd://{bound.fileno()}"]
            config.errorlog = logging.getLogger("hypercorn.error")
            config.graceful_timeout = 1
            port = bound.getsockname()[1]
            bound.detach()
            server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                stop.set()
                await server

    return run
