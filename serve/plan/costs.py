"""How long a step takes: the least that it could, and what its compiled program comes to.

The floor is what no program can go below: each byte that the step needs is read once at the
full speed of memory, each operation done at the chip's peak, the slower of the two. The estimate
is of the program: the compiler's cycles of its fusions, and what the cycles leave out by its
bytes. Neither knows of latencies: of exchanges between chips (about a microsecond a hop), of
starting a program, of the host.
"""

from dataclasses import dataclass
from math import ceil, prod

import jax.numpy as jnp
from jax.sharding import Mesh

from model.axes import EXPERTS, KV_HEADS, ROWS
from model.cache import bytes_per_token, combined_heads
from model.config import LayerConfig, ModelConfig
from model.kernels.ragged import QUERIES_PER_BLOCK
from model.mesh import parts_on
from model.parameters import ParameterSpec, parameter_specs
from serve.plan.chips import Chip
from serve.plan.program_text import Exchange, ProgramText


@dataclass(frozen=True, slots=True)
class Work:
    """What one step is asked for.

    Attributes:
        rows: that take part.
        tokens: of each.
        context: tokens of each when it is done, these among them.
    """

    rows: int
    tokens: int
    context: int


@dataclass(frozen=True, slots=True)
class Needs:
    """What one device has to do for a step, whatever program does it.

    Attributes:
        weight_bytes: of the weights that the step reads.
        cache_bytes: of keys and values that it reads.
        paged_bytes: of the rows' pages, windows or not, as the attention kernel reads them.
        operations: of its products.
        attention_operations: those of attention among them.
    """

    weight_bytes: float
    cache_bytes: float
    paged_bytes: float
    operations: float
    attention_operations: float

    def floor(self, chip: Chip) -> float:
        """Seconds that the step takes at least."""
        moved = (self.weight_bytes + self.cache_bytes) / chip.bandwidth
        return max(moved, self.operations / chip.peak)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of a program on one device, by what they go into.

    Attributes:
        fusions: products and all else that is not below.
        kernels: attention.
        copies: arrays that are copied whole beside other work.
        exchanges: between devices.
    """

    fusions: float
    kernels: float
    copies: float
    exchanges: float

    @property
    def total(self) -> float:
        """As if nothing ran beside anything else."""
        return self.fusions + self.kernels + self.copies + self.exchanges


def needs(config: ModelConfig, mesh: Mesh, dtype: jnp.dtype, work: Work) -> Needs:
    """What one device has to do.

    Args:
        config: the decoder as the mesh holds it.
        mesh: the devices.
        dtype: of weights and pages.
        work: the step.
    """
    data = parts_on(mesh, ROWS)
    # A batch that cannot be divided is computed by every group of devices.
    rows = work.rows // data if work.rows % data == 0 else work.rows
    tokens = rows * work.tokens
    weight_bytes = operations = 0.0
    for name, spec in parameter_specs(config).items():
        values = prod(spec.shape) / prod(parts_on(mesh, axis) for axis in spec.axes)
        if name == "embedding.weight" and not config.tied_head:
            continue
        reached, share = _reached(spec, config, work.rows * work.tokens)
        weight_bytes += values * reached * dtype.itemsize
        # The head is applied to the last token of a row alone.
        applied = rows if name in ("embedding.weight", "head.weight") else tokens
        operations += 2 * values * applied * share if len(spec.shape) > 1 else 0
    heads = parts_on(mesh, KV_HEADS)
    cache_bytes = attention = 0.0
    room = combined_heads(config.held_kv_heads // heads, dtype)
    paged_bytes = rows * work.context * bytes_per_token(config, "combined", dtype, room)
    for layer in config.layers:
        per_token = 2 * config.held_kv_heads // heads * config.head_dim * dtype.itemsize
        cache_bytes += rows * per_token * seen_by_any(layer, work)
        attention += 4 * tokens * config.num_heads / heads * config.head_dim * _seen(layer, work)
    return Needs(weight_bytes, cache_bytes, paged_bytes, operations + attention, attention)


def _reached(spec: ParameterSpec, config: ModelConfig, tokens: int) -> tuple[float, float]:
    """Parts of a parameter that a step reads, and that one token goes through."""
    if EXPERTS not in spec.axes or config.experts is None:
        return 1.0, 1.0
    share = config.experts.chosen / config.experts.count
    # Of experts that are chosen at random, so many are chosen by no token.
    return 1 - (1 - share) ** tokens, share


def seen_by_any(layer: LayerConfig, work: Work) -> float:
    """Tokens of a row that any of the step's queries sees."""
    reach = work.context if layer.window is None else layer.window + work.tokens - 1
    return min(reach, work.context)


def _seen(layer: LayerConfig, work: Work) -> float:
    """Tokens that one of the step's queries sees, on average."""
    seen = work.context - (work.tokens - 1) / 2
    return seen if layer.window is None else min(seen, layer.window)


def estimate(
    program: ProgramText, needed: Needs, chip: Chip, shards: int, tokens_per_row: int
) -> Estimate:
    """Seconds of a compiled program on one device.

    Args:
        program: what it does.
        needed: what the step is about.
        chip: the device.
        shards: devices that exchange with each other.
        tokens_per_row: queries of each row.
    """
    beside = (copy for copy in program.copies if copy.beside)
    copies = sum(copy.bytes * (1 if copy.fetched else 2) for copy in beside) / chip.bandwidth
    # The compiler is at times more hopeful than memory is fast.
    fusions = max(program.cycles / chip.clock, needed.weight_bytes / chip.bandwidth - copies)
    kernels = 0.0
    if program.kernels:
        # Every block of queries reads the row's pages anew.
        blocks = ceil(tokens_per_row / QUERIES_PER_BLOCK)
        moved = blocks * needed.paged_bytes / chip.bandwidth
        kernels = max(moved, needed.attention_operations / chip.peak)
    exchanges = sum(exchange_seconds(each, shards, chip) for each in program.exchanges)
    return Estimate(fusions, kernels, copies, exchanges)


def exchange_seconds(exchange: Exchange, shards: int, chip: Chip) -> float:
    """Seconds of a collective around a ring, both ways at once.

    Each device passes on all parts but its own: once to gather or to scatter them, twice for a
    sum that all have.
    """
    rounds = 2 if exchange.kind == "all-reduce" else 1
    return rounds * exchange.bytes * (shards - 1) / shards / (2 * chip.link)
