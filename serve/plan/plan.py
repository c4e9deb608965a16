"""A whole plan: the steps of a server compiled for a slice, and what they take and cost."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from model.axes import KV_HEADS, ROWS
from model.cache import combined_width
from model.kernels.ragged import AHEAD
from model.mesh import parts_on
from model.paged import FOR_ACCELERATORS
from model.vision.inputs import sizes_for
from serve.engine.config import EngineConfig, bucket
from serve.plan.compiler import Compiled, compile_program, what_it_says
from serve.plan.costs import Estimate, Needs, Work, estimate, needs, tower_needs
from serve.plan.deployment import Deployment
from serve.plan.program_text import ProgramText

# Two compilations of a 70B model at once stay below 3 GB.
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """A step that a server runs: `forward` or `seeing`, and then `draw`.

    Attributes:
        name: `decode`, of rows that answer; `prefill`, of a prompt's chunk; `mixed`, of a chunk
            beside all other rows; or `image`, of a chunk with tokens of an image.
        work: what is computed.
        forward: tokens of the one program.
        draw: rows of the other.
    """

    name: str
    work: Work
    forward: int
    draw: int

    @property
    def keys(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Its programs, as `program_specs` names them."""
        program = "seeing" if self.name == "image" else "forward"
        return (program, self.forward), ("draw", self.draw)


@dataclass(frozen=True, slots=True)
class StepCost:
    """A step's programs, and how long they take.

    Attributes:
        step: what it is.
        forward: the program up to hidden vectors.
        draw: the program from hidden vectors to tokens.
        needs: what any programs would have to do.
        floor: seconds below which none can be.
        estimate: of these.
    """

    step: Step
    forward: Compiled
    draw: Compiled
    needs: Needs
    floor: float
    estimate: Estimate

    @property
    def text(self) -> ProgramText:
        """What there is in both programs."""
        return self.forward.text.then(self.draw.text)

    @property
    def exchanges(self) -> list[tuple[str, int, int]]:
        """Kinds of collectives: (kind, bytes of one, how many)."""
        counted = Counter((each.kind, each.bytes) for each in self.text.exchanges)
        return [(kind, size, count) for (kind, size), count in counted.items()]

    @property
    def copied(self) -> int:
        """Bytes that the step copies within the device's memory."""
        return sum(copy.bytes for copy in self.text.copies if not copy.fetched)


@dataclass(frozen=True, slots=True)
class LookCost:
    """A vision tower's call, and how long it takes.

    Attributes:
        size: patches.
        tokens: vectors that they become.
        program: what is compiled.
        floor: seconds below which none can be.
        estimate: of this one.
    """

    size: int
    tokens: int
    program: Compiled
    floor: float
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model comes to on a slice.

    Attributes:
        deployment: the model there.
        steps: see `steps_of`.
        looks: calls of the tower, if there is one.
        temporary: bytes that the hungriest program needs besides weights, pages and state.
        code: bytes of the programs that were compiled.
    """

    deployment: Deployment
    steps: tuple[StepCost, ...]
    looks: tuple[LookCost, ...]
    temporary: int
    code: int

    @property
    def taken(self) -> int:
        """Bytes of a device in all."""
        budget = self.deployment.budget
        held = budget.weights + budget.tower + budget.vectors + budget.state
        return held + budget.pages * budget.page + self.temporary + self.code

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
    wanted = steps_of(engine)
    # What compiles longest goes first.
    keys = sorted({key for step in wanted for key in step.keys}, reverse=True)
    keys = [("look", size) for size in looks_of(deployment)] + keys
    with what_it_says():
        specs = deployment.programs()

    def trips(program: str, size: int) -> tuple[int, ...]:
        by_kernel = deployment.backend.layout == "combined"
        plain = AHEAD if program == "seeing" and by_kernel else FOR_ACCELERATORS
        turns = -(-engine.context_length // plain.keys)
        if program not in ("forward", "seeing"):
            return (turns,)
        # Blocks of queries, and in each turns of keys.
        return -(-size // parts_on(mesh, ROWS) // plain.queries), turns

    done: dict[tuple[str, int], Compiled] = {}
    on_progress(0, len(keys))
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = {
            pool.submit(lambda key=key: compile_program(specs[key].lower(), trips(*key))): key
            for key in keys
        }
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            on_progress(len(done), len(keys))
    steps: list[StepCost] = []
    chip, shards = deployment.where.chip, parts_on(mesh, KV_HEADS)
    for step in wanted:
        forward, draw = (done[key] for key in step.keys)
        needed = needs(deployment.config, mesh, deployment.dtype, step.work, deployment.page_dtype)
        cost = estimate(forward.text.then(draw.text), needed, chip, shards)
        steps.append(StepCost(step, forward, draw, needed, needed.floor(chip), cost))
    looks = tuple(_look_costs(deployment, done))
    temporary = max(each.temporary_bytes for each in done.values())
    code = sum(each.code_bytes for each in done.values())
    return Plan(deployment, tuple(steps), looks, temporary, code)


def _look_costs(
    deployment: Deployment, done: Mapping[tuple[str, int], Compiled]
) -> Iterator[LookCost]:
    tower, mesh, chip = deployment.tower, deployment.mesh, deployment.where.chip
    for size in looks_of(deployment):
        if tower is not None:
            program, needed = done["look", size], tower_needs(tower, mesh, deployment.dtype, size)
            cost = estimate(program.text, needed, chip, parts_on(mesh, KV_HEADS))
            yield LookCost(size, tower.tokens(size), program, needed.floor(chip), cost)


def looks_of(deployment: Deployment) -> list[int]:
    """Sizes of the tower's calls that a plan tells of, largest first: three at most."""
    if deployment.tower is None:
        return []
    sizes = sizes_for(deployment.tower, deployment.engine.context_length)
    return sorted({sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1]}, reverse=True)


def steps_of(engine: EngineConfig) -> list[Step]:
    """The steps that a plan tells of, all at full contexts.

    Decode at the smallest, the middle and the largest number of rows; a prompt's chunk alone, and
    one with an image for a model that sees; and the longest chunk that is computed beside all
    other rows.
    """
    rows, context = engine.row_buckets, engine.context_length

    def step(name: str, decoding: int, prompt: int) -> Step:
        work = Work(decoding, prompt, context)
        sizes = engine.seeing_buckets if name == "image" else engine.token_buckets
        forward = bucket(work.tokens, sizes)
        return Step(name, work, forward, bucket(work.sampled, rows))

    counts = dict.fromkeys((rows[0], rows[(len(rows) - 1) // 2], rows[-1]))
    steps = [step("decode", count, 0) for count in counts]
    chunk = min(engine.prompt_tokens(0, 1), context)
    steps.append(step("prefill", 0, chunk))
    if engine.image_vectors:
        steps.append(step("image", 0, max(chunk, min(engine.whole_image, context))))
    others = engine.max_rows - 1
    if others and not engine.deterministic:
        steps.append(step("mixed", others, min(engine.prompt_tokens(others, 1), context)))
    return steps


def copies_pages(step: StepCost, deployment: Deployment) -> bool:
    """Whether a step copies a layer's whole pool, which it should write in place."""
    cache = deployment.config
    heads = deployment.backend.heads // parts_on(deployment.mesh, KV_HEADS)
    one = deployment.engine.num_pages * deployment.engine.page_size * heads
    combined = deployment.backend.layout == "combined"
    pool = one * (2 * combined_width(cache.head_dim) if combined else cache.head_dim)
    return any(copy.values == pool and not copy.fetched for copy in step.text.copies)
