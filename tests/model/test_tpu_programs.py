"""What the TPU's own compiler makes of the steps, read from its programs. Runs no TPU."""

from typing import Any

import pytest
from support.tpu_compiler import LAYERS, TOPOLOGIES, run_compiler

pytest.importorskip("libtpu", reason="the TPU compiler comes with pip install '.[tpu]'")
pytestmark = pytest.mark.slow
CASES = [f"dense {topology} {step}" for topology in TOPOLOGIES for step in ("decode", "prefill")]
ROWS_TOO = "rows v5e:2x4 decode"


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> dict[str, Any]:
    return run_compiler(tmp_path_factory.mktemp("tpu") / "programs.json")


@pytest.mark.parametrize("case", CASES)
def test_attention_is_the_kernel(programs, case):
    assert programs[case]["mesh"]["model"] > 1
    assert programs[case]["kernels"] == LAYERS


@pytest.mark.parametrize("case", CASES)
def test_two_exchanges_a_layer_one_of_the_embedding_and_one_of_the_head(programs, case):
    kinds = [kind for kind, _ in programs[case]["collectives"]]
    # The compiler may sum a head whose vocabulary is padded, instead of joining it.
    assert kinds[:-1] == ["all-reduce"] * (2 * LAYERS + 1)
    assert kinds[-1] in ("all-gather", "all-reduce")


@pytest.mark.parametrize("case", [*CASES, ROWS_TOO])
def test_no_weight_is_gathered(programs, case):
    program = programs[case]
    gathered = [size for kind, size in program["collectives"] if kind == "all-gather"]
    assert max(gathered, default=0) < program["smallest_weight"]


@pytest.mark.parametrize("case", [*CASES, ROWS_TOO])
def test_pages_are_written_in_place(programs, case):
    program = programs[case]
    assert program["aliased_bytes"] >= program["pool_bytes"]
    assert program["pool"] not in program["copies"]
