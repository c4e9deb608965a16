"""The config.json of published checkpoints, every key as published: read as their authors mean
them, or refused in one sentence.

Each line of the fixture names a checkpoint, where its file was seen, and the file.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from model.config import CheckpointError, ModelConfig
from model.families.registry import FAMILIES, read_config
from model.parameters import count_parameters
from model.vision.loading import read_vision
from model.vision.parameters import count_tower_parameters

FIXTURES = Path(__file__).parents[1] / "fixtures"
LINES = (FIXTURES / "published_configs.jsonl").read_text().splitlines()
CONFIGS: dict[str, dict[str, Any]] = {
    entry["model"]: entry["config"] for entry in map(json.loads, LINES)
}


class Shape(NamedTuple):
    """A row of `published_shapes.txt`."""

    layers: str
    embed_dim: str
    heads: str
    head_dim: str
    ffn_dim: str
    vocab: str
    context: str
    rope: str
    window: str
    experts: str
    head: str


def shapes() -> dict[str, Shape]:
    rows = (FIXTURES / "published_shapes.txt").read_text().splitlines()
    cells = [row.split() for row in rows if not row.startswith("#")]
    return {model: Shape(*rest) for model, *rest in cells}


SHAPES = shapes()
NOT_OURS = "names the architecture ['{}']; give a model of one that is supported: " + ", ".join(
    FAMILIES
)
NOT_TEXT = NOT_OURS.replace(";", ", a model of more than text;", 1)
COULD_CHANGE = "has keys that could change the numbers and are not supported: {}"
QUANTIZED = (
    "says that the weights are quantized ({}), which is not served; served are compressed-tensors "
    "(float-quantized, int-quantized, pack-quantized), fp8, gptq and awq: give one of these, or "
    "the model as it was before that, in bfloat16, float16 or float32"
)
REFUSED = {
    # Another architecture.
    "deepseek-ai/DeepSeek-R1": NOT_OURS.format("DeepseekV3ForCausalLM"),
    "deepseek-ai/DeepSeek-V3": NOT_OURS.format("DeepseekV3ForCausalLM"),
    "google/gemma-2b": NOT_OURS.format("GemmaForCausalLM"),
    "internlm/internlm2_5-7b-chat": NOT_OURS.format("InternLM2ForCausalLM"),
    "MiniMaxAI/MiniMax-M2.5": NOT_OURS.format("MiniMaxM2ForCausalLM"),
    "moonshotai/Kimi-K2-Instruct": NOT_OURS.format("DeepseekV3ForCausalLM"),
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": NOT_OURS.format("NemotronHForCausalLM"),
    "Qwen/Qwen1.5-MoE-A2.7B": NOT_OURS.format("Qwen2MoeForCausalLM"),
    "TheBloke/law-LLM-GPTQ": NOT_OURS.format("LLaMAForCausalLM"),
    "XiaomiMiMo/MiMo-7B-Base": NOT_OURS.format("MiMoForCausalLM"),
    "zai-org/GLM-5": NOT_OURS.format("GlmMoeDsaForCausalLM"),
    # Text beside pictures.
    "google/gemma-4-26B-A4B": NOT_TEXT.format("Gemma4ForConditionalGeneration"),
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": NOT_OURS.format("Llama4ForConditionalGeneration"),
    "mistralai/Ministral-3-3B-Reasoning-2512": NOT_TEXT.format("Mistral3ForConditionalGeneration"),
    # Quantized: bitsandbytes, EXL2, ModelOpt's FP8, HQQ.
    "blockblockblock/TinyLlama_v1.1-bpw2.25-exl2": QUANTIZED.format("exl2, 2.25 bits"),
    "Qwen/Qwen3-32B-FP8-Static-PerTensor": QUANTIZED.format("FP8"),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0+bitsandbytes": QUANTIZED.format("bitsandbytes"),
    "mobiuslabsgmbh/Qwen2.5-14B-Instruct-1M_4bitgs64_hqq_hf": QUANTIZED.format("hqq"),
    # Attention and embeddings that the architecture's name does not speak of.
    "AIFunOver/Qwen2.5-7B-Instruct-1M-openvino-8bit": COULD_CHANGE.format(
        "dual_chunk_attention_config"
    ),
    "aerner/lm-v2": COULD_CHANGE.format(
        "shared_input_output_embedding, use_memorry_efficient_attention, use_stable_embedding"
    ),
    "crumb/efa25a-4h-128d": COULD_CHANGE.format("attention_mod"),
    "incomprehensible/three": COULD_CHANGE.format("sliding_window"),
}
# Numbers of parameters as the hub counts them in the checkpoints' safetensors.
PARAMETERS = {
    "google/gemma-2-27b-it": 27_227_128_320,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "microsoft/phi-4": 14_659_507_200,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
}


def read(tmp_path: Path, model: str) -> ModelConfig:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[model]))
    return read_config(tmp_path)


def windows(cell: str, count: int) -> list[int | None]:
    if cell == "-":
        return [None] * count
    window, *pattern = map(int, cell.split(":"))
    with_it, without = pattern or (1, 0)
    period = [window] * with_it + [None] * without
    return [period[index % len(period)] for index in range(count)]


def experts(config: ModelConfig) -> str:
    inside = config.experts
    return "-" if inside is None else f"{inside.chosen}/{inside.count}x{inside.ffn_dim}"


@pytest.mark.parametrize("model", SHAPES)
def test_a_published_config_is_read(tmp_path, model):
    shape, config = SHAPES[model], read(tmp_path, model)
    head_dim, _, rotated = shape.head_dim.partition(":")
    assert config.num_layers == int(shape.layers)
    assert config.embed_dim == int(shape.embed_dim)
    assert f"{config.num_heads}/{config.num_kv_heads}" == shape.heads
    assert config.head_dim == int(head_dim)
    assert config.ffn_dim == int(shape.ffn_dim)
    assert config.vocab_size == int(shape.vocab)
    assert config.context_length == int(shape.context)
    assert [layer.window for layer in config.layers] == windows(shape.window, config.num_layers)
    assert experts(config) == shape.experts
    assert {layer.experts for layer in config.layers} == {shape.experts != "-"}
    assert config.tied_head == (shape.head == "tied")
    theta, fastest, slowest, scale = (
        float(part) for part in [*shape.rope.split(":"), "1", "1", "1"][:4]
    )
    # Gemma 3 has a window on its first layer, and there another base.
    rope = next((layer.rope for layer in config.layers if layer.window is None), None)
    rope = rope or config.layers[0].rope
    width = int(rotated or head_dim)
    assert len(rope.frequencies) == width // 2
    assert rope.frequencies[0] == pytest.approx(1 / fastest)
    assert rope.frequencies[-1] == pytest.approx(theta ** (2 / width - 1) / slowest)
    assert rope.scale == pytest.approx(scale)


@pytest.mark.parametrize("model", REFUSED)
def test_a_published_config_is_refused_by_name(tmp_path, model):
    with pytest.raises(CheckpointError) as refusal:
        read(tmp_path, model)
    assert str(refusal.value) == f"{tmp_path / 'config.json'} {REFUSED[model]}"


def test_every_published_config_is_read_or_refused():
    assert sorted([*SHAPES, *REFUSED]) == sorted(CONFIGS)
    assert {CONFIGS[model]["architectures"][0] for model in SHAPES} == set(FAMILIES)


# Of decoder and tower together, counted as those above.
WITH_TOWERS = {
    "fatafix0000/dippymodel_4": 27_432_406_640,
    "Qwen/Qwen3-VL-2B-Instruct": 2_127_532_032,
}


@pytest.mark.parametrize("model", PARAMETERS | WITH_TOWERS)
def test_a_published_config_has_the_published_number_of_parameters(tmp_path, model):
    config = read(tmp_path, model)
    # Layers are alike, and a model of all of them takes seconds to lay out.
    one, two = (count_parameters(replace(config, layers=config.layers[:n])) for n in (1, 2))
    found = one + (config.num_layers - 1) * (two - one)
    if model in PARAMETERS:
        assert found == PARAMETERS[model]
    else:
        tower = read_vision(tmp_path)
        assert tower is not None
        assert found + count_tower_parameters(tower) == WITH_TOWERS[model]
