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
from model.cache import LANES, bytes_per_token, combined_heads
from model.config import LayerConfig, ModelConfig
from model.kernels.ragged import QUERIES_PER_BLOCK
from model.mesh import parts_on
from model.parameters import ParameterSpec, held_bytes, parameter_specs
from model.vision.config import AnyVisionConfig, Gemma3VisionConfig, Qwen3VLVisionConfig
from model.vision.parameters import tower_bytes
from serve.plan.chips import Chip
from serve.plan.program_text import Exchange, ProgramText


@dataclass(frozen=True, slots=True)
class Work:
    """What one step is asked for.

    Attributes:
        rows: that decode a token each.
        prompt: tokens of a prompt's chunk beside them, after the last of which one is sampled.
        context: tokens of each row, and of the prompt, when the step is done.
    """

    rows: int
    prompt: int
    context: int

    @property
    def tokens(self) -> int:
        """In all."""
        return self.rows + self.prompt

    @property
    def sampled(self) -> int:
        """Tokens after which one is sampled."""
        return self.rows + min(1, self.prompt)


@dataclass(frozen=True, slots=True)
class Needs:
    """What one device has to do for a step, whatever program does it.

    Attributes:
        weight_bytes: of the weights that the step reads.
        cache_bytes: of keys and values that it reads.
        paged_bytes: of pages, windows or not, as the attention kernel reads them on the device
            that has most to read.
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


def needs(
    config: ModelConfig,
    mesh: Mesh,
    dtype: jnp.dtype,
    work: Work,
    page_dtype: jnp.dtype | None = None,
) -> Needs:
    """What one device has to do.

    Args:
        config: the decoder as the mesh holds it.
        mesh: the devices.
        dtype: of weights.
        work: the step.
        page_dtype: of pages; None for that of weights.
    """
    pages, data = page_dtype or dtype, parts_on(mesh, ROWS)
    # Tokens that cannot be divided are computed by every group of devices.
    parts = data if work.tokens % data == 0 else 1
    tokens = work.tokens / parts
    weight_bytes = operations = 0.0
    for name, spec in parameter_specs(config).items():
        values = prod(spec.shape) / prod(parts_on(mesh, axis) for axis in spec.axes)
        if name == "embedding.weight" and not config.tied_head:
            continue
        reached, share = _reached(spec, config, work.tokens)
        weight_bytes += held_bytes(config, spec, dtype, mesh) * reached
        # The head is applied where something is sampled alone.
        head = name in ("embedding.weight", "head.weight")
        applied = work.sampled if head else tokens
        operations += 2 * values * applied * share if len(spec.shape) > 1 else 0
    heads = parts_on(mesh, KV_HEADS)
    cache_bytes = attention = 0.0
    for layer in config.layers:
        per_token = 2 * config.held_kv_heads // heads * config.head_dim * pages.itemsize
        # Whoever computes some of a prompt's tokens reads all of the prompt.
        cache_bytes += per_token * (
            work.rows / parts * _reach(layer, work.context, 1)
            + min(1, work.prompt) * _reach(layer, work.context, work.prompt)
        )
        seen = work.rows * _seen(layer, work.context, 1)
        seen += work.prompt * _seen(layer, work.context, work.prompt)
        attention += 4 * seen / parts * config.num_heads / heads * config.head_dim
    room = combined_heads(config.held_kv_heads // heads, pages)
    paged_bytes = bytes_per_token(config, "combined", pages, room) * _paged(work, int(tokens))
    return Needs(weight_bytes, cache_bytes, paged_bytes, operations + attention, attention)


def tower_needs(config: AnyVisionConfig, mesh: Mesh, dtype: jnp.dtype, size: int) -> Needs:
    """What one device has to do for a tower's call of `size` patches."""
    weight_bytes = tower_bytes(config, dtype, mesh)
    operations = tower_operations(config, size) / mesh.size
    # The kernel has heads filled up.
    heads = config.num_heads * -(-config.head_dim // LANES) * LANES
    attention = 4 * config.num_layers * size * _compared(config, size) * heads / mesh.size
    return Needs(weight_bytes, 0.0, 0.0, operations, attention)


def tower_operations(config: AnyVisionConfig, size: int) -> int:
    """Multiplications and additions in the products of a tower's call of `size` patches."""
    embed, patch = config.embed_dim, config.patch_values * config.embed_dim
    block = 4 * embed**2 + 2 * embed * config.ffn_dim + 2 * _compared(config, size) * embed
    last = embed * config.out_dim
    if isinstance(config, Qwen3VLVisionConfig):
        square = embed * config.merge**2
        last = (1 + len(config.deepstack)) * square * (square + config.out_dim)
    return 2 * (size * (patch + config.num_layers * block) + config.tokens(size) * last)


def _compared(config: AnyVisionConfig, size: int) -> int:
    """Patches that each is compared with in a call."""
    return config.image_patches if isinstance(config, Gemma3VisionConfig) else size


def _reached(spec: ParameterSpec, config: ModelConfig, tokens: int) -> tuple[float, float]:
    """Parts of a parameter that a step reads, and that one token goes through."""
    if EXPERTS not in spec.axes or config.experts is None:
        return 1.0, 1.0
    share = config.experts.chosen / config.experts.count
    # Of experts that are chosen at random, so many are chosen by no token.
    return 1 - (1 - share) ** tokens, share


def _reach(layer: LayerConfig, context: int, queries: int) -> int:
    """Tokens of a row that any of its last queries sees."""
    reach = context if layer.window is None else layer.window + queries - 1
    return min(reach, context)


def _seen(layer: LayerConfig, context: int, queries: int) -> float:
    """Tokens that one of a row's last queries sees, on average."""
    seen = context - (queries - 1) / 2
    return seen if layer.window is None else min(seen, layer.window)


def _paged(work: Work, tokens: int) -> int:
    """Tokens that the kernel reads where the first so many of a step's are computed.

    A row's pages once; a prompt's anew for each block of queries that has some of it.
    """
    rows = min(work.rows, tokens)
    blocks = ceil(tokens / QUERIES_PER_BLOCK) - rows // QUERIES_PER_BLOCK if tokens > rows else 0
    return (rows + blocks) * work.context


def estimate(program: ProgramText, needed: Needs, chip: Chip, shards: int) -> Estimate:
    """Seconds of a step's compiled programs on one device.

    Args:
        program: what they do.
        needed: what the step is about.
        chip: the device.
        shards: devices that exchange with each other.
    """
    beside = (copy for copy in program.copies if copy.beside)
    copies = sum(copy.bytes * (1 if copy.fetched else 2) for copy in beside) / chip.bandwidth
    # The compiler is at times more hopeful than memory is fast.
    fusions = max(program.cycles / chip.clock, needed.weight_bytes / chip.bandwidth - copies)
    kernels = 0.0
    if program.kernels:
        moved = needed.paged_bytes / chip.bandwidth
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
