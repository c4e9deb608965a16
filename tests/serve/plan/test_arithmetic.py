"""Budgets, floors and estimates that a person can check by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType
from support.tiny import TINY

from model.config import ExpertsConfig, LayerConfig
from model.mesh import DATA, MODEL, MeshShape, make_mesh
from model.parameters import count_parameters
from serve.engine.config import EngineConfig
from serve.plan.chips import CHIPS, Chip, Slice, offered, parse_slice
from serve.plan.costs import Estimate, Needs, Work, estimate, exchange_seconds, needs
from serve.plan.deployment import Workload, budget, check_context, proposals
from serve.plan.errors import PlanError
from serve.plan.plan import steps_of
from serve.plan.program_text import Copy, Exchange, ProgramText

ROUND = Chip("round", 1, 10_000_000, 1e9, 1e12, 1e8, 1e6, ("1x1", "2x2"))
ONE, FOUR = Slice("round:1x1", ROUND, 1), Slice("round:2x2", ROUND, 4)
BFLOAT16 = jnp.dtype("bfloat16")
# Two layers, two kv heads of 8, keys and values, two bytes.
PER_TOKEN = 2 * 2 * 8 * 2 * 2
# As a TPU's pages have them: each filled up to 128.
PAGED = PER_TOKEN * 16


def test_the_cache_is_what_every_row_needs():
    work = Workload(rows=4, context=100, page_size=16)
    takes = budget(TINY, ONE, MeshShape(), work)
    assert takes.weights == 2 * count_parameters(TINY)
    assert takes.page == 16 * PAGED
    assert takes.pages_wanted == takes.pages == 4 * 7


def test_pages_are_as_many_as_memory_has_room_for():
    work = Workload(rows=64, context=512, page_size=16)
    small = replace(ROUND, hbm=3_000_000)
    takes = budget(TINY, Slice("round:1x1", small, 1), MeshShape(), work)
    assert takes.pages == int(0.85 * (3_000_000 - takes.weights - takes.state)) // takes.page
    assert 0 < takes.pages < takes.pages_wanted


def test_a_slice_divides_weights_and_pages():
    work = Workload(rows=4, context=96)
    whole = budget(TINY, ONE, MeshShape(), work)
    half = budget(TINY, FOUR, MeshShape(2, 2), work)
    assert half.page * 2 == whole.page
    # Norms are whole on every device, and 67 tokens become two times 34.
    assert whole.weights / 2 < half.weights < whole.weights * 0.52


def test_kv_heads_that_are_copied_take_their_pages():
    work = Workload(rows=4, context=96)
    config = replace(TINY, num_heads=4)
    assert budget(config, FOUR, MeshShape(1, 4), work).page == 16 * PAGED // 2


def test_the_smallest_slice_that_holds_all_rows():
    kinds = [[ONE, FOUR]]
    few, many = Workload(rows=4, context=512), Workload(rows=12, context=512)
    config = replace(TINY, num_heads=4)
    assert [where for where, _ in proposals(config, few, kinds)] == [ONE]
    assert [where for where, _ in proposals(config, many, kinds)] == [FOUR]
    assert proposals(config, replace(many, rows=4096), kinds) == []


def test_a_context_that_the_model_was_not_made_for():
    with pytest.raises(PlanError, match="made for at most 512"):
        check_context(TINY, Workload(context=513))


def test_what_a_decode_step_must_do():
    needed = needs(TINY, make_mesh(), BFLOAT16, Work(rows=3, prompt=0, context=10))
    # All weights but the embedding, of which three rows are looked up.
    assert needed.weight_bytes == 2 * (count_parameters(TINY) - 67 * 32)
    assert needed.cache_bytes == 3 * 10 * PER_TOKEN
    # Scores and sums of two layers: 6 heads of 8, twice a product and a sum.
    assert needed.attention_operations == 2 * 3 * 4 * 6 * 8 * 10
    matrices = 32 * 2 * 5 * 8 + 6 * 8 * 32 + 3 * 32 * 48
    products = 2 * 3 * (2 * matrices + 67 * 32)
    assert needed.operations - needed.attention_operations == pytest.approx(products, rel=1e-3)


def test_what_a_prompts_chunk_must_do():
    needed = needs(TINY, make_mesh(), BFLOAT16, Work(rows=0, prompt=4, context=10))
    # The four see 7, 8, 9 and 10 tokens.
    assert needed.attention_operations == 2 * 4 * 6 * 8 * (7 + 8 + 9 + 10)
    assert needed.cache_bytes == 10 * PER_TOKEN


def test_a_chunk_beside_rows_must_do_both_and_reads_the_weights_once():
    rows, chunk, both = (
        needs(TINY, make_mesh(), BFLOAT16, work)
        for work in (Work(3, 0, 10), Work(0, 4, 10), Work(3, 4, 10))
    )
    assert both.weight_bytes == rows.weight_bytes == chunk.weight_bytes
    assert both.cache_bytes == rows.cache_bytes + chunk.cache_bytes
    assert both.operations == pytest.approx(rows.operations + chunk.operations)
    # A token of each row is sampled, and the one after the prompt.
    head = 2 * 67 * 32
    one = needs(TINY, make_mesh(), BFLOAT16, Work(1, 0, 10))
    products = (one.operations - one.attention_operations) - head
    assert both.operations - both.attention_operations == pytest.approx(7 * products + 4 * head)


def test_a_window_bounds_what_is_read():
    layers = (LayerConfig(TINY.layers[0].rope, window=4), TINY.layers[1])
    config = replace(TINY, layers=layers)
    needed = needs(config, make_mesh(), BFLOAT16, Work(rows=1, prompt=0, context=10))
    assert needed.cache_bytes == (4 + 10) * PER_TOKEN / 2
    assert needed.paged_bytes == 10 * PAGED
    chunk = needs(config, make_mesh(), BFLOAT16, Work(rows=0, prompt=3, context=10))
    assert chunk.cache_bytes == (6 + 10) * PER_TOKEN / 2


@pytest.mark.parametrize(
    ("rows", "prompt", "reads"),
    [
        (64, 0, 64),
        (0, 64, 2),
        (0, 65, 3),
        # Tokens 63 to 127: in the second, the third and the fourth block of 32.
        (63, 65, 63 + 3),
        (64, 64, 64 + 2),
    ],
)
def test_the_kernel_reads_a_prompt_anew_for_each_block_of_queries(rows, prompt, reads):
    needed = needs(TINY, make_mesh(), BFLOAT16, Work(rows, prompt, context=100))
    assert needed.paged_bytes == reads * 100 * PAGED


@pytest.mark.parametrize(
    ("rows", "prompt", "reads", "cached"),
    [
        # A group of devices has two rows; all of them, which come first, and the first block.
        (8, 0, 2, 2),
        (8, 56, 8 + 1, 2 + 1),
        # Every group reads the prompt; three rows are not divided.
        (0, 64, 1, 1),
        (3, 0, 3, 3),
    ],
)
def test_rows_are_divided_among_groups_of_devices(rows, prompt, reads, cached):
    mesh: Any = AbstractMesh((4, 1), (DATA, MODEL), (AxisType.Auto,) * 2)
    needed = needs(TINY, mesh, BFLOAT16, Work(rows, prompt, context=100))
    assert needed.paged_bytes == reads * 100 * PAGED
    assert needed.cache_bytes == cached * 100 * PER_TOKEN


ENGINE = EngineConfig(context_length=2048, cache_tokens=64 * 2048, prefill_chunk=512, least_rows=4)


def test_the_steps_of_a_plan():
    steps = steps_of(ENGINE)
    assert [(each.name, each.work.rows, each.work.prompt) for each in steps] == [
        ("decode", 4, 0),
        ("decode", 16, 0),
        ("decode", 64, 0),
        ("prefill", 0, 512),
        ("mixed", 63, 449),
    ]
    assert [(each.forward, each.draw) for each in steps] == [
        *((4, 4), (16, 16), (64, 64), (512, 4), (512, 64))
    ]


@pytest.mark.parametrize(
    ("change", "last"),
    [
        # Nothing is beside a chunk where there is one row, nor in a deterministic engine.
        ({"max_rows": 1}, ("prefill", 512, 1)),
        ({"deterministic": True}, ("prefill", 512, 64)),
        # A chunk is no longer than the context.
        ({"context_length": 100}, ("mixed", 256, 64)),
    ],
)
def test_the_last_step_of_a_plan(change, last):
    step = steps_of(replace(ENGINE, **change))[-1]
    assert (step.name, step.forward, step.draw) == last


def test_experts_that_no_token_chooses_are_not_read():
    experts = ExpertsConfig(count=4, chosen=1, ffn_dim=16, renormalize=True)
    layer = LayerConfig(TINY.layers[0].rope, experts=True)
    config = replace(TINY, layers=(layer,), experts=experts)
    one = needs(config, make_mesh(), BFLOAT16, Work(rows=1, prompt=0, context=1))
    two = needs(config, make_mesh(), BFLOAT16, Work(rows=2, prompt=0, context=1))
    # The second token goes to another expert three times of four.
    expert = 3 * 32 * 16
    assert two.weight_bytes - one.weight_bytes == pytest.approx(2 * 0.75 * expert)
    assert two.operations / one.operations == pytest.approx(2)


def test_a_floor_is_of_memory_or_of_the_peak():
    assert Needs(3e6, 1e6, 0, 1e9, 0).floor(ROUND) == pytest.approx(4e-3)
    assert Needs(3e6, 1e6, 0, 1e10, 0).floor(ROUND) == pytest.approx(10e-3)


def test_an_estimate_adds_up_what_the_cycles_leave_out():
    copies = (Copy(5, 1000, fetched=True, beside=True), Copy(5, 500, fetched=False, beside=True))
    program = ProgramText((Exchange("all-reduce", 400),), copies, 2, cycles=9000, unknown=0)
    made = estimate(program, Needs(6e6, 5e5, 1e6, 1e9, 1e6), ROUND, shards=4)
    # 9,000 cycles of a microsecond; 1 MB of pages; 1,000 bytes read, 500 read and written.
    expected = Estimate(9e-3, 1e-3, 2e-6, 2 * 400 * 3 / 4 / 2e8)
    assert (made.fusions, made.kernels, made.copies, made.exchanges) == pytest.approx(
        (expected.fusions, expected.kernels, expected.copies, expected.exchanges)
    )
    assert made.total == pytest.approx(9e-3 + 1e-3 + 2e-6 + 3e-6)


def test_weights_are_read_no_faster_than_memory_is():
    program = ProgramText((), (), 0, cycles=10, unknown=0)
    made = estimate(program, Needs(6e6, 5e5, 1e6, 1e9, 1e6), ROUND, shards=1)
    assert made.fusions == pytest.approx(6e-3)
    assert made.kernels == 0


@pytest.mark.parametrize(
    ("kind", "shards", "seconds"),
    [("all-reduce", 8, 2 * 7 / 8 * 5), ("all-gather", 8, 7 / 8 * 5), ("all-reduce", 1, 0)],
)
def test_an_exchange_goes_around_a_ring_both_ways(kind, shards, seconds):
    assert exchange_seconds(Exchange(kind, int(1e9)), shards, ROUND) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("topology", "devices"), [("v5e:2x4", 8), ("v5p:2x2x1", 4), ("tpu7x:2x2x1", 8), ("v6e:1x1", 1)]
)
def test_a_slice_in_words(topology, devices):
    assert parse_slice(topology).devices == devices


@pytest.mark.parametrize("topology", ["v5e", "v5e:", "v9:2x2", "v5e:2x0", "v5e:2x-2", "2x4", ""])
def test_what_is_no_slice(topology):
    with pytest.raises(PlanError, match="like v5e:2x4"):
        parse_slice(topology)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_a_chips_figures_agree_with_each_other(chip):
    # Whole matrix units: each does as many operations in a cycle.
    assert chip.peak / chip.clock / (2 * 128 * 128) == pytest.approx(
        round(chip.peak / chip.clock / (2 * 128 * 128)), rel=0.01
    )
    sizes = [each.devices for each in offered(chip)]
    assert sizes == sorted(sizes)


def test_the_documents_show_the_table():
    rows = [
        f"| {chip.name} | {chip.hbm / 2**30:.2f} GiB | {chip.bandwidth / 1e9:.0f} GB/s "
        f"| {chip.peak / 1e12:.0f} Tflop/s | {chip.link / 1e9:.0f} GB/s "
        f"| {chip.clock / 1e9:.2f} GHz |"
        for chip in CHIPS.values()
    ]
    shown = (Path(__file__).parents[3] / "docs/plan.md").read_text(encoding="utf-8")
    table = shown.split("<!-- chips:begin -->")[1].split("<!-- chips:end -->")[0]
    assert table.strip().splitlines()[2:] == rows
