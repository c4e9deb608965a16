"""What the TPU's own compiler makes of vision towers, read from its programs. Runs no TPU."""

from typing import Any

import pytest
from support.tower_compiler import PATCHES, TOWERS, run_compiler

from serve.plan.costs import tower_operations

pytest.importorskip("libtpu", reason="the TPU's compiler comes with pip install '.[plan]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LAYERS = 2


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> dict[str, Any]:
    return run_compiler(tmp_path_factory.mktemp("tpu") / "programs.json", LAYERS)


@pytest.fixture(params=TOWERS)
def program(request, programs) -> dict[str, Any]:
    return programs[request.param]


def test_a_device_has_its_part_of_the_weights(program):
    # And the call's patches, whole: 4096 of 1,536 bytes are six million.
    assert program["weights"] < program["argument_bytes"] < program["weights"] + 8e6


def test_attention_is_the_kernel_and_scores_are_never_there(program):
    assert program["kernels"] == LAYERS
    # Of one head and a device's half of the queries, in float32.
    assert program["temporary_bytes"] < PATCHES // 2 * PATCHES * 4


def test_two_sums_a_layer_and_none_of_them_twice(program):
    """Of what attention and feed-forward add: a half of the patches, 1,152 values of two bytes."""
    sums = {size: count for kind, size, count in program["exchanges"] if kind == "all-reduce"}
    assert sums[PATCHES // 2 * 1152 * 2] == 2 * LAYERS


def test_keys_and_values_are_joined_and_no_weight_is(program):
    joined = {size: count for kind, size, count in program["exchanges"] if kind == "all-gather"}
    # Four heads of 72, keys and values of all patches, by layer.
    assert joined[PATCHES * 4 * 72 * 2] >= 2 * LAYERS
    assert {kind for kind, _, _ in program["exchanges"]} == {"all-gather", "all-reduce"}


def test_operations_of_the_whole_towers():
    # A block's 15.2 million weights for each patch, twice, and two products of 4096 x 4096.
    assert tower_operations(TOWERS["gemma"], 4096) == pytest.approx(5.5e12, rel=0.01)
    assert tower_operations(TOWERS["qwen"], 16384) == pytest.approx(4.83e13, rel=0.01)
