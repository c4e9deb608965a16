"""What the TPU's own compiler makes of the steps, read from its programs. Runs no TPU."""

import json
from importlib.metadata import version
from typing import Any

import pytest
from support.tpu_compiler import LAYERS, MOVED, SMALL_FORMS, TOPOLOGIES, run_compiler, run_plan

pytest.importorskip("libtpu", reason="the TPU's compiler comes with pip install '.[plan]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DENSE = [*(f"dense {topology}" for topology in TOPOLOGIES), "sinks v6e:2x2"]
CASES = [f"{case} {step}" for case in DENSE for step in ("decode", "mixed")]
ROWS = [f"rows v5e:2x4 {step}" for step in ("decode", "mixed")]
IMAGE = "image v5e:2x4"
OTHERS = ["experts v6e:2x2 decode", *ROWS, IMAGE]
DRAW = "dense v6e:2x4 draw"


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> dict[str, Any]:
    return run_compiler(tmp_path_factory.mktemp("tpu") / "programs.json")


@pytest.mark.parametrize("case", CASES)
def test_attention_is_the_kernel(programs, case):
    assert programs[case]["mesh"]["model"] > 1
    assert programs[case]["kernels"] == LAYERS


def test_64_query_heads_on_a_device_have_the_kernel(programs):
    assert programs["many v5e:1x1 decode"]["mesh"] == {"data": 1, "model": 1}
    assert programs["many v5e:1x1 decode"]["kernels"] == LAYERS


def test_heads_that_the_kernel_cannot_read_are_attended_to_without_it(programs):
    wide = programs["wide v5e:2x2 decode"]
    assert wide["mesh"]["model"] == 4
    assert wide["kernels"] == 0
    assert "head_dim is 256" in wide["fallback"]


@pytest.mark.parametrize("case", CASES)
def test_two_exchanges_a_layer_and_one_of_the_embedding(programs, case):
    kinds = [kind for kind, _ in programs[case]["exchanges"]]
    assert kinds == ["all-reduce"] * (2 * LAYERS + 1)


def test_one_exchange_of_the_head(programs):
    # The compiler may sum a head whose vocabulary is padded, instead of joining it.
    ((kind, size),) = programs[DRAW]["exchanges"]
    assert kind in ("all-gather", "all-reduce")
    assert size == 4 * programs[DRAW]["logits"]


@pytest.mark.parametrize("case", ROWS)
def test_where_rows_are_divided_keys_and_values_are_joined_and_the_end_of_it(programs, case):
    """Beside the sums of a divided model: keys and values, and two exchanges of a few integers."""
    exchanges = programs[case]["exchanges"]
    joined = [size for kind, size in exchanges if kind == "all-gather"]
    # Hidden vectors at the end, and integers.
    assert len(joined) == 2 * LAYERS + 2
    assert joined[-1] == max(joined)
    assert len(exchanges) - len(joined) == 2 * LAYERS + 2
    assert {kind for kind, _ in exchanges} == {"all-gather", "all-reduce"}


@pytest.mark.parametrize("case", [*CASES, *OTHERS, DRAW])
def test_no_weight_is_gathered(programs, case):
    program = programs[case]
    gathered = [size for kind, size in program["exchanges"] if kind == "all-gather"]
    assert max(gathered, default=0) < program["smallest_weight"]


@pytest.mark.parametrize("case", [*CASES, *OTHERS, DRAW])
def test_no_weight_is_rearranged(programs, case):
    assert max(programs[case]["rearranged"], default=0) < programs[case]["smallest_part"]


@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_pages_are_written_in_place(programs, case):
    program = programs[case]
    assert program["aliased_bytes"] >= program["pool_bytes"]
    assert program["pool"] not in program["copies"]


def test_images_that_see_all_of_themselves_are_read_from_the_kernels_pages(programs):
    program = programs[IMAGE]
    assert program["kernels"] == LAYERS
    assert program["temporary_bytes"] < program["pool_bytes"] / 2


@pytest.mark.parametrize("topology", MOVED)
def test_moving_pages_takes_what_pages_take(programs, topology):
    for name, program in programs[f"moving {topology}"].items():
        in_place = program["pool_bytes"] if name.startswith("fill") else 0
        assert program["aliased_bytes"] >= in_place
        assert program["temporary_bytes"] < program["pool_bytes"] / 100
        assert not program["exchanges"]


@pytest.mark.parametrize("name", ["dense", "experts"])
@pytest.mark.parametrize("form", SMALL_FORMS)
def test_no_matrix_in_fewer_bits_is_widened_as_a_whole(programs, name, form):
    """Widened, a number would take two bytes: of a device's smallest matrix, or of its experts'."""
    program = programs[f"{name} {form}"]
    numbers = program["smallest_part"] if name == "dense" else 4 * 768 * 1024
    assert program["temporary_bytes"] < 2 * numbers
    assert max(program["rearranged"], default=0) < program["smallest_part"]


def test_pages_of_fp8_are_written_in_place_and_read_by_the_kernel(programs):
    program = programs["dense int8"]
    assert program["kernels"] == LAYERS
    assert program["aliased_bytes"] >= program["pool_bytes"]
    # Two layers' keys and values of 64 rows of 2,048, two of the heads, 128 values of a byte.
    assert program["pool_bytes"] == 2 * 2 * 64 * 2048 * 2 * 128
    assert program["pool"] not in program["copies"]


def test_logits_are_rearranged_once_for_rules_that_no_row_uses(programs):
    rearranged = programs[DRAW]["rearranged"]
    assert rearranged.count(programs[DRAW]["logits"]) <= 1


def test_qwen3_8b_on_four_chips_is_near_its_floor(tmp_path):
    plan = run_plan("--model", "qwen3-8b", "--topology", "v5e:2x2", "--prefill-chunk", "512")
    steps = {(step["step"], step["size"]): step for step in plan["steps"]}
    decode, chunk, mixed = (
        steps[each] for each in (("decode", 64), ("prefill", 512), ("mixed", 512))
    )
    assert decode["estimate"]["total"] <= 1.15 * decode["floor"]
    # A chunk beside all rows takes what it takes alone, and what it is to read the rows' pages.
    together, alone = mixed["estimate"], chunk["estimate"]
    assert together["total"] - alone["total"] <= 1.15 * decode["estimate"]["kernels"]
    assert together["total"] <= 0.85 * (alone["total"] + decode["estimate"]["total"])
    # The floor is of weights of 8.19 B, less the embedding, and pages of 64 rows of 2,048.
    read = (8.191e9 - 151_936 * 4096) * 2 + 64 * 2048 * 147_456
    assert decode["floor"] == pytest.approx(read / 4 / 819e9, rel=0.01)
    held = plan["bytes"]["weights"] + plan["bytes"]["pages"]
    for step in plan["steps"]:
        assert not step["pages_copied"]
        for program in step["programs"]:
            assert program["argument_bytes"] + program["temporary_bytes"] <= 1.03 * held


# SmolLM2 135M's, but for its 30 layers.
SMALL = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 4,
    "num_key_value_heads": 3,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}


@pytest.mark.parametrize(
    ("topology", "data"), [("v5e:1x1", 1), ("v6e:1x1", 1), ("v5e:2x2", 4)], ids=str
)
def test_three_kv_heads_on_one_chip_and_on_four(tmp_path, topology, data):
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    plan = run_plan("--model", str(tmp_path), "--topology", topology)
    assert plan["fits"]
    assert plan["mesh"] == {"data": data, "model": 1}
    assert plan["attention"] == "paged, ragged_paged_attention (Pallas TPU kernel)"
    assert plan["attention_fallback"] == ""
    assert plan["compiler"] == f"libtpu {version('libtpu')}"
    # Four layers, keys and values, three heads filled up to four, 64 values to 128, two bytes.
    assert plan["bytes"]["pages"] == 64 * 2048 * 4 * 2 * 4 * 128 * 2
    assert [step["size"] for step in plan["steps"]] == [4, 16, 64, 256, 256]
    for step in plan["steps"]:
        assert step["kernel_calls"] == 4
        assert not step["pages_copied"]
