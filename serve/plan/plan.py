"""A whole plan: the steps of a server compiled for a slice, and what they take and cost."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from model.attention import KEYS_PER_BLOCK
from model.axes import KV_HEADS
from model.cache import combined_width
from model.mesh import parts_on
from serve.plan.compiler import Compiled, compile_program, what_it_says
from serve.plan.costs import Estimate, Needs, Work, estimate, needs
from serve.plan.deployment import Deployment

# Two compilations of a 70B model at once stay below 3 GB.
_THREADS = 2
_SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step's program, and how long it takes.

    Attributes:
        name: `decode` or `prefill`.
        size: rows of the one, tokens of the other.
        compiled: the program.
        needs: what any program would have to do.
        floor: seconds below which none can be.
        estimate: of this one.
    """

    name: str
    size: int
    compiled: Compiled
    needs: Needs
    floor: float
    estimate: Estimate

    @property
    def exchanges(self) -> list[tuple[str, int, int]]:
        """Kinds of collectives: (kind, bytes of one, how many)."""
        counted = Counter((each.kind, each.bytes) for each in self.compiled.text.exchanges)
        return [(kind, size, count) for (kind, size), count in counted.items()]

    @property
    def copied(self) -> int:
        """Bytes that the step copies within the device's memory."""
        return sum(copy.bytes for copy in self.compiled.text.copies if not copy.fetched)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model comes to on a slice.

    Attributes:
        deployment: the model there.
        steps: decode at some numbers of rows, and a prompt's chunk.
        temporary: bytes that the hungriest program needs besides weights, pages and state.
        code: bytes of the programs that were compiled.
    """

    deployment: Deployment
    steps: tuple[StepCost, ...]
    temporary: int
    code: int

    @property
    def taken(self) -> int:
        """Bytes of a device in all."""
        budget = self.deployment.budget
        return (
            budget.weights + budget.state + budget.pages * budget.page + self.temporary + self.code
        )

    @property
    def fits(self) -> bool:
        """Whether a device has them."""
        return self.taken <= self.deployment.budget.hbm


def make_plan(deployment: Deployment, on_progress: Callable[[int, int], None]) -> Plan:
    """Compile the steps and read them.

    Args:
        deployment: the model on a slice.
        on_progress: called with (programs compiled, programs in all).

    Raises:
        PlanError: a step does not fit the device's memory.
        CompilerError: the compiler fails at one.
    """
    engine, mesh = deployment.engine, deployment.mesh
    rows, chunk = engine.row_buckets, engine.prefill_buckets[-1]
    counts = dict.fromkeys((rows[0], rows[len(rows) // 2], rows[-1]))
    # What compiles longest goes first.
    keys = [("prefill", chunk), *(("decode", count) for count in reversed(counts))]
    keys.append((_SAMPLE, rows[-1]))
    with what_it_says():
        specs = deployment.programs()
    trips = -(-engine.context_length // KEYS_PER_BLOCK)
    done: dict[tuple[str, int], Compiled] = {}
    on_progress(0, len(keys))
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = {
            pool.submit(lambda key=key: compile_program(specs[key].lower(), trips)): key
            for key in keys
        }
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            on_progress(len(done), len(keys))
    steps: list[StepCost] = []
    chip, shards = deployment.where.chip, parts_on(mesh, KV_HEADS)
    for name, size in reversed(keys[:-1]):
        tokens = 1 if name == "decode" else size
        work = Work(size if name == "decode" else 1, tokens, engine.context_length)
        needed = needs(deployment.config, mesh, deployment.dtype, work)
        compiled = done[name, size]
        cost = estimate(compiled.text, needed, chip, shards, tokens)
        steps.append(StepCost(name, size, compiled, needed, needed.floor(chip), cost))
    temporary = max(each.temporary_bytes for each in done.values())
    return Plan(deployment, tuple(steps), temporary, sum(each.code_bytes for each in done.values()))


def copies_pages(step: StepCost, deployment: Deployment) -> bool:
    """Whether a step copies a layer's whole pool, which it should write in place."""
    cache = deployment.config
    heads = deployment.backend.heads // parts_on(deployment.mesh, KV_HEADS)
    one = deployment.engine.num_pages * deployment.engine.page_size * heads
    combined = deployment.backend.layout == "combined"
    pool = one * (2 * combined_width(cache.head_dim) if combined else cache.head_dim)
    return any(copy.values == pool and not copy.fetched for copy in step.compiled.text.copies)
