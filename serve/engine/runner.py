"""Executes step plans on the device.

Owns the compiled programs, the cache and the sampler's rows; knows slots and pages as
numbers. Everything is dispatched without waiting: the device runs the calls in order, and
tokens are fetched a step later. After `compile` nothing is compiled any more.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from model.cache import Cache, cache_sharding, empty_cache
from model.loading import LoadedModel
from model.mesh import replicated
from sampling.batch import (
    Choice,
    Rows,
    bias_of,
    empty_rows,
    has_penalty,
    mask_words,
    row_settings,
    sampled_chunks,
)
from serve.engine.config import EngineConfig, bucket
from serve.engine.plan import DecodeRow, Fork, Mask, PrefillChunk, Sampled, StepPlan
from serve.engine.programs import (
    LOAD_WIDTH,
    DeviceState,
    cache_sizes,
    program_specs,
    table_width,
)
from serve.engine.sequence import Sequence
from serve.engine.types import TokenLogprobs

Program = Callable[..., Any]


class SampledGroup(NamedTuple):
    """One sampling call's results on the device.

    Attributes:
        sequences: whose tokens they are; the rest is padding.
        tokens: the sampled ids.
        logprobs: the results of `top_logprobs`, or nothing if no sequence asked.
    """

    sequences: list[Sequence]
    tokens: Int[jax.Array, " B"]
    logprobs: tuple[jax.Array, ...]

    def fetch(self) -> Sampled:
        """Wait for the results."""
        count = len(self.sequences)
        tokens = np.asarray(self.tokens)[:count].tolist()
        logprobs: list[TokenLogprobs | None] = [None] * count
        if self.logprobs:
            columns = (np.asarray(array)[:count].tolist() for array in self.logprobs)
            for row, (sampled, ids, values) in enumerate(zip(*columns, strict=True)):
                if self.sequences[row].request.sampling.logprobs:
                    logprobs[row] = TokenLogprobs(sampled, tuple(ids), tuple(values))
        return Sampled(tokens, logprobs)


class Draw(NamedTuple):
    """One sampling call that waits to be dispatched.

    Attributes:
        logits: on the device, or on their way.
        where: slots and positions, as `sample` takes them.
        sequences: whose tokens they will be.
    """

    logits: Float[Array, "B V"]
    where: Int[np.ndarray, "2 B"]
    sequences: list[Sequence]


class Step:
    """A step whose forward calls have been dispatched.

    Attributes:
        dispatched: `perf_counter()` when the step's last forward call had been dispatched: from
            then on the device had work, whatever the host did.
    """

    def __init__(self, runner: "Runner", draws: list[Draw], dispatched: float) -> None:
        self.dispatched = dispatched
        self._runner = runner
        self._draws = draws
        self._groups: list[SampledGroup] = []

    def sample(self, masks: Iterable[Mask]) -> None:
        """Dispatch the draws, after the masks of the rows that have one."""
        self._groups = self._runner.sample(self._draws, list(masks))
        for group in self._groups:
            for array in (group.tokens, *group.logprobs):
                array.copy_to_host_async()

    def fetch(self) -> list[Sampled]:
        """Wait for the tokens: one result per group of the plan's `samples()`."""
        return [group.fetch() for group in self._groups]


class Runner:
    """The device's side of the engine."""

    def __init__(self, model: LoadedModel, config: EngineConfig) -> None:
        self._model = model
        self._config = config
        self._table_width = table_width(config)
        self._programs: dict[tuple[str, int], Program] = {}
        self._dispatched = 0.0
        self._cache: Cache = jax.jit(self._make_cache, out_shardings=self._cache_sharding())()
        self._rows: Rows = jax.jit(
            partial(empty_rows, config.max_rows, model.config.vocab_size),
            out_shardings=replicated(model.mesh),
        )()

    def _make_cache(self) -> Cache:
        model = self._model
        sizes = cache_sizes(self._config, model.dtype, model.backend)
        return empty_cache(model.config, **sizes)

    def _cache_sharding(self) -> Cache:
        model = self._model
        return cache_sharding(model.config, model.mesh, model.backend.layout)

    # --- compiling ---------------------------------------------------------------------

    def compile(self, on_progress: Callable[[int, int], None]) -> None:
        """Compile every program of every bucket, in parallel threads.

        Args:
            on_progress: called with (programs compiled, programs in all).
        """
        jobs = self._jobs()
        on_progress(0, len(jobs))
        with ThreadPoolExecutor() as pool:
            futures = {pool.submit(job): key for key, job in jobs.items()}
            for done, future in enumerate(as_completed(futures), start=1):
                self._programs[futures[future]] = future.result()
                on_progress(done, len(jobs))

    def _jobs(self) -> dict[tuple[str, int], Callable[[], Program]]:
        model = self._model

        def like(tree: Any) -> Any:
            return jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree
            )

        parameters = {
            name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=cast("Any", x).format)
            for name, x in model.parameters.items()
        }
        device = DeviceState(parameters, like(self._cache), like(self._rows))
        specs = program_specs(model.config, self._config, model.mesh, device)
        return {key: spec.compile for key, spec in specs.items()}

    # --- executing ---------------------------------------------------------------------

    def execute(self, plan: StepPlan) -> Step:
        """Dispatch a step's forward calls, in the order that `StepPlan` lists them."""
        for start in range(0, len(plan.loads), LOAD_WIDTH):
            self._load(plan.loads[start : start + LOAD_WIDTH])
        # Prompts first, so that forks can copy their pages before anyone samples.
        finished = [(self._prefill(chunk), chunk) for chunk in plan.prefill]
        for start in range(0, len(plan.forks), LOAD_WIDTH):
            self._fork(plan.forks[start : start + LOAD_WIDTH])
        draws = [self._prompt_draw(*each) for each in finished if each[1].sampling]
        if plan.decode:
            draws.append(self._decode(plan.decode))
        return Step(self, draws, self._dispatched)

    def sample(self, draws: list[Draw], masks: list[Mask]) -> list[SampledGroup]:
        """Dispatch the draws of a step, after the masks of the rows that have one."""
        for start in range(0, len(masks), LOAD_WIDTH):
            some = masks[start : start + LOAD_WIDTH]
            slots = np.full(LOAD_WIDTH, self._config.max_rows, np.int32)
            allowed = self._blank_masks()
            for row, mask in enumerate(some):
                slots[row], allowed[row] = mask.slot, mask.allowed
            self._rows = self._programs["load_masks", LOAD_WIDTH](self._rows, slots, allowed)
        return [self._sample(draw) for draw in draws]

    def _blank_masks(self) -> UInt32[np.ndarray, "b W"]:
        return np.zeros((LOAD_WIDTH, mask_words(self._model.config.vocab_size)), np.uint32)

    def _load(self, sequences: list[Sequence]) -> None:
        """Put the settings of sequences into their slots, and what they have sampled before."""
        requests = [sequence.request for sequence in sequences]
        settings = row_settings(
            [
                Choice(
                    each.sampling,
                    sequence.choice,
                    sequence.prompt_length,
                    each.end_ids,
                    each.constraint is not None,
                )
                for sequence, each in zip(sequences, requests, strict=True)
            ],
            LOAD_WIDTH,
        )
        slots = np.full(LOAD_WIDTH, self._config.max_rows, np.int32)
        slots[: len(sequences)] = [sequence.slot for sequence in sequences]
        self._rows = self._programs["load", LOAD_WIDTH](self._rows, slots, settings)
        if any(each.sampling.logit_bias for each in requests):
            bias = bias_of([each.sampling for each in requests], LOAD_WIDTH)
            self._rows = self._programs["load_bias", LOAD_WIDTH](self._rows, slots, bias)
        counted = [
            (sequence.slot, sequence.tokens[sequence.prompt_length :])
            for sequence in sequences
            if has_penalty(sequence.request.sampling)
        ]
        for chunk in sampled_chunks(counted, LOAD_WIDTH) if counted else ():
            self._rows = self._programs["recount", LOAD_WIDTH](self._rows, chunk)

    def _prefill(self, chunk: PrefillChunk) -> Float[Array, "1 V"]:
        length = bucket(len(chunk.tokens), self._config.prefill_buckets)
        tokens = np.zeros((1, length), np.int32)
        tokens[0, : len(chunk.tokens)] = chunk.tokens
        rows = np.array([[chunk.slot], [chunk.start], [len(chunk.tokens)]], np.int32)
        logits, self._cache = self._programs["prefill", length](
            self._model.parameters, self._cache, tokens, rows, self._tables([chunk.table], 1)
        )
        self._dispatched = time.perf_counter()
        return logits

    def _fork(self, forks: list[Fork]) -> None:
        rows = np.zeros((3, LOAD_WIDTH), np.int32)
        rows[0], rows[2] = self._config.max_rows, self._config.num_pages
        for index, new in enumerate(forks):
            copies = new.source >= 0
            rows[0, index] = new.slot
            rows[1, index] = new.source if copies else 0
            rows[2, index] = new.target if copies else self._config.num_pages
        tables = self._tables([new.table for new in forks], LOAD_WIDTH)
        self._cache = self._programs["fork", LOAD_WIDTH](self._cache, rows, tables)

    def _tables(self, pages: list[list[int]], rows: int) -> Int[np.ndarray, "rows M"]:
        tables = np.zeros((rows, self._table_width), np.int32)
        for row, numbers in enumerate(pages):
            tables[row, : len(numbers)] = numbers
        return tables

    def _prompt_draw(self, logits: Float[Array, "1 V"], chunk: PrefillChunk) -> Draw:
        """The first token of every choice that starts from this prompt."""
        size = bucket(len(chunk.sampling), self._config.row_buckets)
        where = np.full((2, size), self._config.max_rows, np.int32)
        where[0, : len(chunk.sampling)] = [sequence.slot for sequence in chunk.sampling]
        where[1] = chunk.start + len(chunk.tokens)
        if size > 1:
            logits = self._programs["spread", size](logits)
        return Draw(logits, where, chunk.sampling)

    def _decode(self, rows: list[DecodeRow]) -> Draw:
        size = bucket(len(rows), self._config.row_buckets)
        inputs = np.zeros((3, size), np.int32)
        inputs[0], inputs[1] = self._config.max_rows, -1
        inputs[:, : len(rows)] = np.array(
            [(row.sequence.slot, row.position, row.page) for row in rows], np.int32
        ).T
        logits, self._cache = self._programs["decode", size](
            self._model.parameters, self._cache, self._rows.last_token, inputs
        )
        self._dispatched = time.perf_counter()
        where = inputs[:2] + np.array([[0], [1]], np.int32)
        return Draw(logits, where, [row.sequence for row in rows])

    def _sample(self, draw: Draw) -> SampledGroup:
        logits, where, sequences = draw
        size = logits.shape[0]
        self._rows, tokens = self._programs["sample", size](self._rows, logits, where)
        logprobs: tuple[jax.Array, ...] = ()
        if any(sequence.request.sampling.logprobs for sequence in sequences):
            logprobs = self._programs["logprobs", size](logits, tokens)
        return SampledGroup(sequences, tokens, logprobs)
