"""A model in this process, on the server's engine: the same batches, programs and draws.

Owns the engine and who waits for which of its events. Knows nothing of HTTP.
"""

import itertools
import queue
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

# `auto` is the notebook's bar where a notebook runs that can show it, and else this one.
from tqdm.asyncio import tqdm as terminal_bar
from tqdm.auto import tqdm

from model.tokenizer import Tokenizer
from sampling.params import SamplingParams
from serve.api.asking.reasoning import AskedThoughts, Effort
from serve.config import ServeConfig
from serve.engine.engine import Engine
from serve.engine.loading import LoadedEngine, load_engine
from serve.engine.scheduler import Delivery
from serve.engine.types import (
    EngineInfo,
    EngineUnavailableError,
    GenerationRequest,
    PromptLogprobs,
)
from serve.model_places import find_model
from serve.offline.answers import Answer, Choice, Collector
from serve.offline.formats import Formats
from serve.offline.prompts import Prompt, PromptEncoder
from serve.offline.thinking import Thinking
from serve.text.render import Renderer
from serve.text.template_files import load_chat_template

_SERVER = ServeConfig()
_NEUTRAL = SamplingParams()
# The caller holds the whole list already: a bound on how much of it waits would save nothing.
_NO_LIMIT = 2**31


class LocalModel:
    """A model in this process. Calls from several threads share its batches.

    Args:
        loaded: an engine that has not been started, and what belongs to it.
        renderer: makes prompts of conversations.
        progress: as for `load`.

    Attributes:
        tokenizer: the model's.
        end_ids: ids that end a turn.
    """

    def __init__(
        self, loaded: LoadedEngine, renderer: Renderer, progress: bool | None = None
    ) -> None:
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.end_ids = renderer.end_ids(loaded.end_ids)
        self._engine: Engine = loaded.engine
        self._prompts = PromptEncoder(self.tokenizer, renderer, self.info.context_length)
        self._thinking = Thinking(renderer, self.info.vocab_size, self.end_ids)
        self._names = itertools.count()
        self._inboxes: dict[str, queue.SimpleQueue[Delivery | None]] = {}
        self._closed = False
        self._engine.death.add_done_callback(self._on_death)
        self._progress = progress
        with self._bar("compiling", "program") as bar:

            def on_progress(done: int, total: int, doing: str) -> None:
                bar.total = total
                bar.set_description(doing, refresh=False)
                bar.update(done - bar.n)
                bar.refresh()

            self._engine.start(self._on_step, lambda _: None, on_progress)

    @classmethod
    def load(
        cls,
        model: Path | str = _SERVER.model,
        *,
        rows: int = 16,
        context: int = 0,
        cache_tokens: int = 0,
        dtype: str = "auto",
        weights: str = "full",
        cache_dtype: str = "auto",
        mesh: str = "",
        deterministic: bool = True,
        chat_template: Path | str = "",
        tokenizer: Path | str = "",
        compile_cache: Path | None = _SERVER.compile_cache_directory,
        adapters: Mapping[str, Path | str] | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Load a checkpoint and compile its programs.

        Args:
            model: a directory, a GGUF file, a model on the hub or a name of the catalogue, as
                `parlance serve --model` takes it; the bundled model if not given.
            rows: most choices decoded in one step.
            context: most tokens of prompt and answer; 0 for what the model was made for.
            cache_tokens: tokens the cache holds; 0 for all rows' contexts as far as memory goes.
            dtype: `auto`, `float32` or `bfloat16`.
            weights: how the layers' matrices are kept: `full`, `float32`, `bfloat16`, `int8`,
                `fp8` or `int4`.
            cache_dtype: of the cache: `auto` for that of the weights, `bfloat16`,
                `fp8` or `int8`.
            mesh: devices to divide the rows by and to divide the model by, like
                `data=2,model=4`; all devices if empty.
            deterministic: the same call gives the same answers, whatever else runs. Every step
                then costs what `rows` rows cost, and there are fewer programs to compile.
            chat_template: a template's file, or the name of one of the checkpoint's templates; its
                default if not given.
            tokenizer: directory with the tokenizer to use, and what belongs to it: chat templates,
                and what ends a turn; the model's own if not given.
            compile_cache: where compiled programs are kept for the next time; the server's
                directory if not given, None for nowhere.
            adapters: directories of LoRA adapters as PEFT writes them, by the names that
                `generate` takes.
            progress: show bars, here and in `generate`; if not given, on a terminal and in a
                notebook.

        Raises:
            CheckpointError, TokenizerError, TemplateError: the model or an adapter cannot be
                had, or not used.
            MeshError: the model cannot be divided as the mesh asks.
            EngineConfigError: the settings cannot work, those of JAX included.
        """
        directory = find_model(model, tokenizer=not tokenizer).directory
        texts = Path(tokenizer) if tokenizer else directory
        loaded = load_engine(
            directory,
            tokenizer_directory=texts,
            dtype=dtype,
            weights=weights,
            cache_dtype=cache_dtype,
            mesh=mesh,
            rows=rows,
            context=context,
            cache_tokens=cache_tokens,
            queue_limit=_NO_LIMIT,
            deterministic=deterministic,
            compile_cache=compile_cache,
            adapters={name: Path(place) for name, place in (adapters or {}).items()},
        )
        named = loaded.tokenizer.named
        template = load_chat_template(texts, named, str(chat_template))
        return cls(loaded, Renderer(loaded.tokenizer, template), progress)

    @property
    def info(self) -> EngineInfo:
        """Facts about the model: its context, its vocabulary's size, its fingerprint."""
        return self._engine.info

    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] = _NEUTRAL,
        *,
        n: int = 1,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        response_format: Mapping[str, object] | None = None,
        schema_in_prompt: bool = True,
        adapter: str | None = None,
        reasoning_effort: str | None = None,
    ) -> list[Answer]:
        """Answer all prompts, as many at a time as there are rows.

        Equal prompts with equal seeds get equal answers, and the seed is 0 unless the settings
        name one: for different answers raise `n`, or give each prompt a seed of its own.

        Args:
            prompts: strings, which the model continues as they are, and conversations: lists of
                messages as in a request, which the chat template renders. Neither can hold
                control tokens: their spellings are text.
            params: the settings of all prompts, or one for each.
            n: choices for each prompt.
            max_tokens: most tokens of a choice; by default, and at most, what the prompt
                leaves of the context.
            stop: strings that end a choice and are left out.
            response_format: what every answer must be, as in a request:
                `{"type": "json_schema", "json_schema": {"name": "person", "schema": {…}}}`.
            schema_in_prompt: tell the model of it too, at the end of a conversation's system part.
            adapter: which of the adapters answers; the model itself if not given.
            reasoning_effort: how much is thought before conversations are answered, as in a
                request; what the template does if not given.

        Returns:
            The answers, in the order of the prompts.

        Raises:
            ValueError: an argument is out of its range, or a prompt cannot be used.
            RuntimeError: the model is closed, its engine has failed, or an answer could not go
                on as its format asks.
        """
        schema = None if response_format is None else self._formats.schema(response_format)
        constraint = None if schema is None else self._formats.constraint(schema)
        number = self._number(adapter)
        instructions = schema.instructions if schema is not None and schema_in_prompt else ""
        effort = self._thinking.effort(reasoning_effort)
        stops = [stop] if isinstance(stop, str) else list(stop)
        requests: list[GenerationRequest] = []
        running: dict[str, list[Collector]] = {}
        for request, asked in self._requests(prompts, params, n, max_tokens, instructions, effort):
            held = self._thinking.constraint(asked, constraint)
            requests.append(replace(request, constraint=held, adapter=number))
            parsers = self._thinking.parsers(asked, n, of_form=constraint is not None)
            running[request.id] = [Collector(self.tokenizer, stops, each) for each in parsers]
        self._gather(requests, running)
        return [
            Answer(tuple(request.prompt), tuple(each.choice() for each in running[request.id]))
            for request in requests
        ]

    def _gather(
        self, requests: Sequence[GenerationRequest], running: Mapping[str, Sequence[Collector]]
    ) -> None:
        """Have the engine run requests until each choice's collector has all of its answer."""
        inbox: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        left = sum(map(len, running.values()))
        self._inboxes |= dict.fromkeys(running, inbox)
        try:
            for request in requests:
                self._engine.submit(request)
            with self._bar("generating", "choice", left) as bar:
                while left:
                    delivery = inbox.get()
                    if delivery is None:
                        raise self._failure()
                    name, event = delivery.request_id, delivery.event
                    if isinstance(event, PromptLogprobs):
                        continue
                    if event.failure is not None:
                        raise RuntimeError(f"an answer was given up: {event.failure}")
                    if running[name][event.choice].feed(event):
                        left -= 1
                        bar.update()
                        if event.finish_reason is None:
                            self._engine.cancel(name, event.choice)
        except EngineUnavailableError as error:
            raise self._failure() from error
        finally:
            for name in running:
                del self._inboxes[name]
                if left:
                    self._engine.cancel(name)

    def allowed(self, choice: Choice, response_format: Mapping[str, object]) -> NDArray[np.bool_]:
        """Which tokens a format let the sampler draw at each place of a choice that follows it.

        Returns:
            One row for each token of the choice, one column for each of the vocabulary.

        Raises:
            ValueError: the format is malformed, cannot be enforced, or is just text.
            ConstraintError: the choice does not follow it.
        """
        schema = self._formats.schema(response_format)
        if schema is None:
            raise ValueError("response_format: text allows every token; give another format")
        ids = [token.id for token in choice.tokens]
        return self._formats.allowed(self._formats.constraint(schema), ids)

    def close(self) -> None:
        """Stop the engine. What still runs is dropped; the model cannot be used again."""
        self._closed = True
        self._engine.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def _formats(self) -> Formats:
        return Formats(self.tokenizer, self.info.vocab_size, self.end_ids)

    # --- on the way in -----------------------------------------------------------------

    def _number(self, adapter: str | None) -> int | None:
        names = self.info.adapters
        if adapter is None:
            return None
        if adapter not in names:
            raise ValueError(
                f"adapter is {adapter!r}; this model has {', '.join(names) or 'no adapters'}"
            )
        return names.index(adapter)

    def _requests(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams],
        n: int,
        max_tokens: int | None,
        instructions: str,
        effort: Effort,
    ) -> list[tuple[GenerationRequest, AskedThoughts | None]]:
        if self._closed:
            raise self._failure()
        if n < 1:
            raise ValueError(f"n is {n}; it must be at least 1")
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}; it must be at least 1, or None")
        if isinstance(prompts, str) or any(isinstance(each, Mapping) for each in prompts):
            raise ValueError("prompts is a single prompt; give a list of prompts: [prompt]")
        settings = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
        if len(settings) != len(prompts):
            raise ValueError(
                f"params has {len(settings)} entries for {len(prompts)} prompts; give one for "
                f"each, or one SamplingParams for all"
            )
        requests: list[tuple[GenerationRequest, AskedThoughts | None]] = []
        for index, (prompt, each) in enumerate(zip(prompts, settings, strict=True)):
            try:
                ids, asked = self._prompts.encode(prompt, instructions, effort.variables), None
                sampling = each
                if not isinstance(prompt, str):
                    ids, asked = self._thinking.begun(ids, effort)
                    sampling = self._thinking.params(each, asked)
                room = self._prompts.room(ids)
            except ValueError as error:
                raise ValueError(f"prompts[{index}]: {error}") from error
            bound = room if max_tokens is None else min(max_tokens, room)
            name = str(next(self._names))
            request = GenerationRequest(name, ids, sampling, bound, n, self.end_ids)
            requests.append((request, asked))
        return requests

    # --- on the way out ----------------------------------------------------------------

    def _on_step(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            inbox = self._inboxes.get(delivery.request_id)
            if inbox is not None:
                inbox.put(delivery)

    def _on_death(self, _: Future[BaseException | None]) -> None:
        for inbox in list(self._inboxes.values()):
            inbox.put(None)

    def _failure(self) -> RuntimeError:
        if self._closed:
            return RuntimeError("the model is closed; load it again")
        error = self._engine.death.result()
        return RuntimeError(f"the engine has failed ({error!r}); load the model again")

    def _bar(self, what: str, unit: str, total: int | None = None) -> "tqdm[Any]":
        # None is tqdm's word for "on a terminal"; a notebook is none, but can show the bar.
        by_place = None if tqdm is terminal_bar else False
        disable = by_place if self._progress is None else not self._progress
        return tqdm(total=total, desc=what, unit=unit, disable=disable, leave=False)
