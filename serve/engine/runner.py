"""Executes step plans on the device.

Owns the compiled programs, the cache and the sampler's rows; knows slots and pages as
numbers. Everything is dispatched without waiting: the device runs the calls in order, and a
step's end is waited for, and its tokens fetched, a step later. After `compile` nothing is compiled
any more. On several hosts each has a runner: the first host's executes plans, and its followers
`run` what it runs.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from functools import cached_property, partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from model.cache import Cache, cache_sharding, empty_cache
from model.freed import release_memory
from model.loading import LoadedModel
from model.mesh import replicated
from model.parameters import Shape
from model.small import Weight
from model.steps import take_pages
from model.vision.tower import LoadedTower
from sampling.batch import Rows, empty_rows
from serve.engine.calls import Call, CallMaker, Draw, Drawing, Forward
from serve.engine.compile_cache import KeptPrograms
from serve.engine.config import EngineConfig
from serve.engine.executables import Executables, Program, can_keep, facts_of
from serve.engine.host_memory import usable_cores
from serve.engine.memory import (
    LOWER_CACHE,
    LOWER_IMAGES,
    LOWER_ROWS,
    capacity,
    check_fits,
    hungriest,
    needs_of,
    program_in_words,
    refused_if_exhausted,
)
from serve.engine.moves import Gathered, Moves
from serve.engine.page_calls import fillings, takings
from serve.engine.plan import Mask, Sampled, StepPlan, StepResult, Telling
from serve.engine.programs import (
    DeviceState,
    cache_sizes,
    program_specs,
    table_width,
    vectors_shape,
)
from serve.engine.sequence import Sequence
from serve.engine.types import PromptLogprobs, TokenLogprobs

# A compiler on each of a large host's cores would take more memory than it saves time.
_MAX_THREADS = 32
# Tokens, and log-probabilities where they are wanted, of one draw.
DrawResult = tuple[Int[Array, " B"], tuple[Float[Array, "..."] | Int[Array, "..."], ...]]


class SampledGroup(NamedTuple):
    """One sampling call's results on the device.

    Attributes:
        sequences: whose tokens they are, one for each; the rest is padding.
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


class ToldPrompt(NamedTuple):
    """What is told of a prompt, on the device.

    Attributes:
        telling: what it is.
        parts: results of `ranked_logprobs`, and which places of each.
    """

    telling: Telling
    parts: list[tuple[tuple[jax.Array, ...], slice]]

    def fetch(self) -> PromptLogprobs:
        """Wait for the results."""
        wanted = self.telling.sequence.request.prompt_logprobs
        pieces = ([np.asarray(array)[places] for array in part] for part, places in self.parts)
        # Joined or copied, so that no more is kept than was asked for.
        values, ranks, ids, likeliest = map(np.concatenate, zip(*pieces, strict=True))
        top = ids[:, :wanted].copy(), likeliest[:, :wanted].copy()
        return PromptLogprobs(np.array(self.telling.tokens, np.int32), values, ranks, *top)


class Step:
    """A step whose forward calls have been dispatched.

    Args:
        runner: whose step it is.
        told: what is told of prompts.
        draws: the draws to come, each with the sequences that it is for.
        undrawn: what the last forward call picked, if none of the draws is from that.
        dispatched: see below.

    Attributes:
        dispatched: `perf_counter()` when the step's last forward call had been dispatched: from
            then on the device had work, whatever the host did.
    """

    def __init__(
        self,
        runner: "Runner",
        told: list[ToldPrompt],
        draws: list[tuple[Draw, list[Sequence]]],
        undrawn: jax.Array | None,
        dispatched: float,
    ) -> None:
        self.dispatched = dispatched
        self._runner = runner
        self._told = told
        self._draws = draws
        self._undrawn = undrawn
        self._groups: list[SampledGroup] = []

    def sample(self, masks: Iterable[Mask]) -> None:
        """Dispatch the draws, after the masks of the rows that have one."""
        self._groups = self._runner.sample(self._draws, list(masks))
        for group in self._groups:
            for array in (group.tokens, *group.logprobs):
                array.copy_to_host_async()

    @property
    def ready(self) -> bool:
        """Whether `fetch` would return at once."""
        # Any, because JAX's types leave `is_ready` out.
        awaited: list[Any] = [group.tokens for group in self._groups]
        awaited += [part[0] for prompt in self._told for part, _ in prompt.parts]
        if self._undrawn is not None:
            awaited.append(self._undrawn)
        return all(array.is_ready() for array in awaited)

    def fetch(self) -> StepResult:
        """Wait for the step's end: its tokens, and what it tells of prompts."""
        if self._undrawn is not None:
            # A chunk amid a prompt, which has no token to wait for.
            self._undrawn.block_until_ready()
        sampled = [group.fetch() for group in self._groups]
        return StepResult(sampled, [each.fetch() for each in self._told])


class Job(NamedTuple):
    """What has a program ready.

    Attributes:
        doing: what that is, in words.
        make: does it.
    """

    doing: str
    make: Callable[[], Program]


class Followers(Protocol):
    """The runners of other hosts, which run what this one runs."""

    def tell(self, part: Forward | Drawing) -> None:
        """Have them run it."""
        ...

    def wait_until_ready(self) -> None:
        """Wait until they have compiled."""
        ...


class Runner:
    """The device's side of the engine.

    Args:
        model: the decoder.
        config: the engine's settings.
        followers: of this runner, if it is the first of several.
        kept: where compiled programs are kept, if they are.
        tower: that sees for the model; None for one of text.
    """

    def __init__(
        self,
        model: LoadedModel,
        config: EngineConfig,
        followers: Followers | None = None,
        kept: KeptPrograms | None = None,
        tower: LoadedTower | None = None,
    ) -> None:
        self._model = model
        self._tower = tower
        self._config = config
        self._table_width = table_width(config)
        self._programs: dict[tuple[str, int], Program] = {}
        adapters = {} if model.adapters is None else model.adapters.parameters
        self._adapted = {**model.parameters, **adapters}
        self._calls = CallMaker(
            config,
            model.config.vocab_size,
            self._table_width,
            adapters=bool(adapters),
            vision=tower and tower.config,
        )
        self._followers = followers
        self._kept = kept
        self._executables: Executables | None = None
        # Of the passes of the latest step, until they are drawn from.
        self._picked: list[jax.Array] = []
        # What the calls of the latest step that tell of prompts have made.
        self._told: list[tuple[jax.Array, ...]] = []
        # It is filled while programs are loaded or compiled.
        with self._cache_refused_if_exhausted():
            make_cache = jax.jit(self._make_cache, out_shardings=self._cache_sharding())
            self._cache: Cache = make_cache()
        with refused_if_exhausted(f"what {config.max_rows} rows keep", LOWER_ROWS):
            make_rows = jax.jit(
                partial(empty_rows, config.max_rows, model.config.vocab_size, config.end_ids),
                out_shardings=replicated(model.mesh),
            )
            self._rows: Rows = jax.block_until_ready(make_rows())
        # Of images, in slots that `images.py` gives out.
        self._vectors: jax.Array | None = None if tower is None else self._no_vectors(tower)

    def _cache_refused_if_exhausted(self) -> AbstractContextManager[None]:
        return refused_if_exhausted(f"a cache of {self._config.cache_tokens} tokens", LOWER_CACHE)

    def _no_vectors(self, tower: LoadedTower) -> jax.Array:
        spec = vectors_shape(tower.config, self._config, tower.dtype, tower.mesh)
        with refused_if_exhausted(f"vectors of {spec.shape[1]} tokens of images", LOWER_IMAGES):
            return jnp.zeros(spec.shape, spec.dtype, device=spec.sharding)

    def _make_cache(self) -> Cache:
        model = self._model
        sizes = cache_sizes(self._config, model.page_dtype, model.backend)
        return empty_cache(model.config, **sizes)

    def _cache_sharding(self) -> Cache:
        model = self._model
        return cache_sharding(model.config, model.mesh, model.backend.layout)

    # --- compiling ---------------------------------------------------------------------

    def compile(self, on_progress: Callable[[int, int, str], None]) -> None:
        """Have every program of every bucket ready, and see that followers have.

        Programs that were kept are read, the others compiled, in parallel threads.

        Args:
            on_progress: called with (programs ready, programs in all, what is being done).

        Raises:
            EngineConfigError: a program cannot run with the memory that there is.
        """
        jobs = self._jobs()
        doing = {key: job.doing for key, job in jobs.items()}
        on_progress(0, len(jobs), next(iter(doing.values())))
        # More threads than cores take no less time, and much more memory.
        with ThreadPoolExecutor(min(usable_cores(), _MAX_THREADS)) as pool:
            futures = {pool.submit(job.make): key for key, job in jobs.items()}
            try:
                with self._cache_refused_if_exhausted():
                    jax.block_until_ready(self._cache)
                for done, future in enumerate(as_completed(futures), start=1):
                    key = futures[future]
                    with refused_if_exhausted(*program_in_words(*key)):
                        self._programs[key] = future.result()
                    # As they come and not at the end, so that the most is less too.
                    release_memory()
                    del doing[key]
                    on_progress(done, len(jobs), next(iter(doing.values()), ""))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if self._executables is not None:
            self._executables.tell()
        if self._kept is not None:
            self._kept.tell()
        vision = self._tower and self._tower.config
        needs = [*needs_of(self._model, self._config, vision), hungriest(self._programs)]
        check_fits(needs, capacity(self._model.mesh))
        if self._followers is not None:
            self._followers.wait_until_ready()

    def _jobs(self) -> dict[tuple[str, int], "Job"]:
        model = self._model

        def like(tree: Any) -> Any:
            return jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree
            )

        def placed(parameters: Mapping[str, Weight]) -> dict[str, Shape]:
            return jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.format),
                dict(parameters),
            )

        adapters, tower = model.adapters, self._tower
        device = DeviceState(
            placed(model.parameters),
            like(self._cache),
            like(self._rows),
            adapters and placed(adapters.parameters),
            tower and placed(tower.parameters),
            like(self._vectors),
        )
        shape, vision = adapters and adapters.shape, tower and tower.config
        specs = program_specs(model.config, self._config, model.mesh, device, shape, vision)
        if self._kept is None or not can_keep(model.mesh):
            return {key: Job(_compiling(*key), spec.compile) for key, spec in specs.items()}
        facts = facts_of(model.config, self._config, model.backend, model.mesh, vision)
        self._executables = Executables(self._kept, facts, model.mesh)
        return {
            key: Job(
                "loading kept programs" if self._executables.has(*key, spec) else _compiling(*key),
                partial(self._executables.program, *key, spec),
            )
            for key, spec in specs.items()
        }

    # --- executing ---------------------------------------------------------------------

    def execute(self, plan: StepPlan) -> Step:
        """Dispatch a step's forward calls."""
        forward, draws, told = self._calls.step(plan)
        self._everywhere(forward)
        dispatched = time.perf_counter()
        for array in chain.from_iterable(self._told):
            array.copy_to_host_async()
        prompts = [
            ToldPrompt(telling, [(self._told[call], part) for call, part in places])
            for telling, places in told
        ]
        drawn = {draw.source for draw, _ in draws}
        last = len(self._picked) - 1
        return Step(self, prompts, draws, None if last in drawn else self._picked[last], dispatched)

    def move(self, moves: Moves) -> list[Gathered]:
        """Dispatch what is to be copied before the next step; gives back what goes out."""
        gathered: list[Gathered] = []
        for saves, source in takings(moves.saves):
            taken = self._programs["take", len(source)](self._cache, source)
            taken.copy_to_host_async()
            gathered.append(Gathered(saves, taken))
        if moves.restores:
            shape, dtype = self._page
            for held, target in fillings(moves.restores, shape, dtype, self._config.num_pages):
                self._cache = self._programs["fill", len(target)](self._cache, held, target)
        return gathered

    @cached_property
    def _page(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of what one page holds over all layers."""
        taken = jax.eval_shape(take_pages, self._cache, np.zeros(1, np.int32))
        return taken.shape[1:], taken.dtype

    def sample(
        self, draws: list[tuple[Draw, list[Sequence]]], masks: list[Mask]
    ) -> list[SampledGroup]:
        """Dispatch the draws of a step, after the masks of the rows that have one."""
        drawing = self._calls.drawing([draw for draw, _ in draws], masks)
        results = self._everywhere(drawing)
        return [
            SampledGroup(sequences, *result)
            for (_, sequences), result in zip(draws, results, strict=True)
        ]

    def _everywhere(self, part: Forward | Drawing) -> list[DrawResult]:
        if self._followers is not None:
            self._followers.tell(part)
        return self.run(part)

    def run(self, part: Forward | Drawing) -> list[DrawResult]:
        """Dispatch a part of a step; after each `Forward` comes its `Drawing`.

        Returns:
            Per draw its tokens, and the results of `top_logprobs` if they are wanted.
        """
        match part:
            case Forward(calls):
                self._picked, self._told = [], []
                hidden: list[jax.Array] = []
                for call in calls:
                    hidden = self._run(call, hidden)
                return []
            case Drawing(masks, draws):
                return [self._draw(*each) for each in zip(masks, draws, strict=True)]

    def _run(self, call: Call, hidden: list[jax.Array]) -> list[jax.Array]:
        """Dispatch a call.

        Args:
            call: the call.
            hidden: the hidden vectors of the latest pass, in parts.

        Returns:
            The hidden vectors for the next call.
        """
        program, parameters = self._programs[call.program, call.size], self._model.parameters
        match call.program:
            case "forward" | "adapted":
                if call.program == "adapted":
                    parameters = self._adapted
                last = self._rows.last_token
                picked, hidden, self._cache = program(parameters, self._cache, last, *call.inputs)
                self._picked.append(picked)
            case "seeing":
                last, (*inputs, places, ends) = self._rows.last_token, call.inputs
                picked, hidden, self._cache = program(
                    self._adapted, self._cache, last, *inputs, self._vectors, places, ends
                )
                self._picked.append(picked)
            case "look":
                tower = None if self._tower is None else self._tower.parameters
                self._vectors = program(tower, self._vectors, *call.inputs)
            case "prompt_logprobs":
                part, tokens = call.inputs
                self._told.append(program(parameters, hidden[part], tokens))
            case "seat" | "copy":
                self._cache = program(self._cache, *call.inputs)
            case _:
                self._rows = program(self._rows, *call.inputs)
        return hidden

    def _draw(self, masks: list[Call], draw: Draw) -> DrawResult:
        for call in masks:
            self._run(call, [])
        picked, program = self._picked[draw.source], self._programs["draw", draw.size]
        self._rows, tokens, logits = program(
            self._model.parameters, self._rows, picked, draw.where, draw.drafts
        )
        logprobs = self._programs["logprobs", draw.size](logits, tokens) if draw.logprobs else ()
        return tokens, logprobs


def _compiling(name: str, size: int) -> str:
    return f"compiling {name} {size}"
