"""What the TPU's own compiler makes of the steps, read from its programs. Runs no TPU."""

from typing import Any

import pytest
from support.tpu_compiler import LAYERS, TOPOLOGIES, run_compiler, run_plan

pytest.importorskip("libtpu", reason="the TPU's compiler comes with pip install '.[plan]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DENSE = [*(f"dense {topology}" for topology in TOPOLOGIES), "sinks v6e:2x2"]
CASES = [f"{case} {step}" for case in DENSE for step in ("decode", "prefill")]
OTHERS = ["experts v6e:2x2 decode", "rows v5e:2x4 decode"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> dict[str, Any]:
    return run_compiler(tmp_path_factory.mktemp("tpu") / "programs.json")


@pytest.mark.parametrize("case", CASES)
def test_attention_is_the_kernel(programs, case):
    assert programs[case]["mesh"]["model"] > 1
    assert programs[case]["kernels"] == LAYERS


@pytest.mark.parametrize("case", CASES)
def test_two_exchanges_a_layer_one_of_the_embedding_and_one_of_the_head(programs, case):
    kinds = [kind for kind, _ in programs[case]["exchanges"]]
    # The compiler may sum a head whose vocabulary is padded, instead of joining it.
    assert kinds[:-1] == ["all-reduce"] * (2 * LAYERS + 1)
    assert kinds[-1] in ("all-gather", "all-reduce")


@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_no_weight_is_gathered(programs, case):
    program = programs[case]
    gathered = [size for kind, size in program["exchanges"] if kind == "all-gather"]
    assert max(gathered, default=0) < program["smallest_weight"]


@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_no_weight_is_rearranged(programs, case):
    assert max(programs[case]["rearranged"], default=0) < programs[case]["smallest_part"]


@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_pages_are_written_in_place(programs, case):
    program = programs[case]
    assert program["aliased_bytes"] >= program["pool_bytes"]
    assert program["pool"] not in program["copies"]


def test_qwen3_8b_on_four_chips_is_near_its_floor(tmp_path):
    plan = run_plan("--model", "qwen3-8b", "--topology", "v5e:2x2")
    decode = {step["size"]: step for step in plan["steps"] if step["step"] == "decode"}[64]
    assert decode["estimate"]["total"] <= 1.2 * decode["floor"]
    # The floor is of weights of 8.19 B, less the embedding, and pages of 64 rows of 2,048.
    read = (8.191e9 - 151_936 * 4096) * 2 + 64 * 2048 * 147_456
    assert decode["floor"] == pytest.approx(read / 4 / 819e9, rel=0.01)
    held = plan["bytes"]["weights"] + plan["bytes"]["pages"]
    for step in plan["steps"]:
        assert step["argument_bytes"] + step["temporary_bytes"] <= 1.03 * held
