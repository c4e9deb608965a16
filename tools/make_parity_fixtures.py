"""Tiny checkpoints of every family, made and run by the reference library, for the tests.

    python -m tools.make_parity_fixtures tests/fixtures/models

Needs torch and transformers (the extra `fixtures`), which nothing else here does: a developer
runs it when a family is added, and commits what it writes. Each variant becomes a directory
with what the library's own `save_pretrained` writes, and `expected.safetensors`: ids of a
text, the logits after each of them, and the ids that greedy decoding appends. All share one
small tokenizer, which is trained when it is not there.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import sentencepiece
import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch
from tqdm import tqdm
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

TEXT = "The quick brown fox jumps over the lazy dog."
GREEDY_LENGTH = 64
TOKENIZER = "tokenizer.model"
SHAPE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Variant:
    """A checkpoint to make.

    Attributes:
        family: the library's class of the config, without `Config`.
        changes: config keys beside `SHAPE`.
        finish: changes the written directory and the model, before it is run.
    """

    family: str
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    finish: Callable[[Path, Any], None] | None = None


def pack_experts(directory: Path, model: Any) -> None:
    """Put random four-bit experts into a gpt-oss checkpoint, and their values into the model."""
    generator = torch.Generator().manual_seed(7)
    path = directory / "model.safetensors"
    tensors = load_torch(path)
    for index, layer in enumerate(model.model.layers):
        experts = layer.mlp.experts
        for name in ("gate_up_proj", "down_proj"):
            count, width, out = getattr(experts, name).shape
            blocks = torch.randint(
                256, (count, out, width // 32, 16), generator=generator, dtype=torch.uint8
            )
            scales = torch.randint(
                122, 126, (count, out, width // 32), generator=generator, dtype=torch.uint8
            )
            values = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
            getattr(experts, name).data.copy_(values)
            prefix = f"model.layers.{index}.mlp.experts.{name}"
            del tensors[prefix]
            tensors[f"{prefix}_blocks"], tensors[f"{prefix}_scales"] = blocks, scales
    save_torch(tensors, path, {"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"],
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 32,
}
_PHI = {"hidden_size": 64, "num_attention_heads": 4, "pad_token_id": 0}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5],
    "long_factor": [1.0, 1.5, 2.5, 4.0, 6.0, 8.0],
}
_MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_GPT_OSS = {
    "head_dim": 16,
    "hidden_size": 64,
    "intermediate_size": 32,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": 8,
    "rope_parameters": _YARN | {"rope_theta": 150_000.0, "truncate": False},
    "num_hidden_layers": 2,
}

VARIANTS: dict[str, Variant] = {
    "llama-2": Variant("Llama", {"num_key_value_heads": 4}),
    "llama-3.1": Variant("Llama", {"rope_parameters": _LLAMA3_ROPE, "tie_word_embeddings": True}),
    "llama-linear": Variant(
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    ),
    "llama-bias": Variant("Llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": Variant("Mistral", {"sliding_window": 8, "head_dim": 12}),
    "mixtral": Variant("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen-2.5": Variant("Qwen2", {"tie_word_embeddings": True}),
    "qwen-2-window": Variant(
        "Qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
    ),
    "qwen-3": Variant("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen-3-yarn": Variant("Qwen3", {"head_dim": 16, "rope_parameters": _YARN}),
    "qwen-3-moe": Variant(
        "Qwen3Moe",
        _MOE | {"head_dim": 16, "num_experts": 6, "norm_topk_prob": True, "mlp_only_layers": [1]},
    ),
    "qwen-3-moe-raw": Variant(
        "Qwen3Moe", _MOE | {"head_dim": 8, "num_experts": 4, "decoder_sparse_step": 2}
    ),
    "gemma-2": Variant(
        "Gemma2",
        {
            "head_dim": 16,
            "sliding_window": 8,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma-3": Variant(
        "Gemma3Text",
        {
            "head_dim": 16,
            "sliding_window": 8,
            "num_hidden_layers": 7,
            "query_pre_attn_scalar": 24,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
                "full_attention": {
                    "rope_type": "linear",
                    "factor": 8.0,
                    "rope_theta": 1_000_000.0,
                },
            },
        },
    ),
    "phi-3": Variant("Phi3", _PHI | {"sliding_window": 16}),
    "phi-4-mini": Variant(
        "Phi3",
        _PHI | {"original_max_position_embeddings": 128, "rope_parameters": _LONGROPE},
    ),
    "phi-4-mini-long": Variant(
        "Phi3",
        _PHI | {"original_max_position_embeddings": 16, "rope_parameters": _LONGROPE},
    ),
    "gpt-oss": Variant("GptOss", _GPT_OSS),
    "gpt-oss-mxfp4": Variant("GptOss", _GPT_OSS, pack_experts),
    "olmo-2": Variant("Olmo2"),
}


def make(name: str, variant: Variant, directory: Path, ids: list[int]) -> None:
    """Write one variant's directory; `ids` are the text's."""
    config = getattr(transformers, f"{variant.family}Config")(**(SHAPE | variant.changes))
    torch.manual_seed(sum(name.encode()))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.float().eval()
    randomize(model)
    directory.mkdir(parents=True, exist_ok=True)
    # A copy: converting a model rounds its rotary frequencies too.
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(directory)
    if variant.finish is not None:
        variant.finish(directory, model)
    record(name, model, directory, ids)


def record(name: str, model: Any, directory: Path, ids: list[int]) -> None:
    """Write what a model makes of a text beside its checkpoint."""
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}) + "\n")
    tokens = torch.tensor(ids)
    logits = forward(model, tokens)
    whole, after = tokens, logits
    gaps: list[float] = []
    for _ in range(GREEDY_LENGTH):
        best = torch.topk(after[-1], 2).values
        gaps.append(float(best[0] - best[1]))
        whole = torch.cat([whole, after[-1].argmax()[None]])
        after = forward(model, whole)
    tqdm.write(
        f"{name}: logits within ±{float(logits.abs().max()):.1f}, smallest greedy margin "
        f"{min(gaps):.1e}"
    )
    expected = {
        "tokens": tokens.numpy().astype(np.int32),
        "logits": logits.numpy(),
        "greedy": whole[len(ids) :].numpy().astype(np.int32),
    }
    save_file(expected, directory / "expected.safetensors")


def read_tokenizer(path: Path) -> sentencepiece.SentencePieceProcessor:
    """The tokenizer at `path`, trained on this project's front page if it is not there."""
    if not path.exists():
        readme = Path(__file__).parents[1] / "README.md"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(readme.read_text().splitlines()),
            model_prefix=str(path.with_suffix("")),
            model_type="bpe",
            vocab_size=SHAPE["vocab_size"],
            byte_fallback=True,
            character_coverage=0.98,
            normalization_rule_name="identity",
            minloglevel=1,
        )
        path.with_suffix(".vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def randomize(model: Any) -> None:
    """Weights that let every part show: logits of order one, norms that are not all ones."""
    for name, value in model.named_parameters():
        if "norm" in name:
            around = 0.0 if float(value.detach().flatten()[0]) == 0 else 1.0
            value.data.uniform_(around - 0.5, around + 0.5)
        elif name.endswith(("bias", "sinks")):
            value.data.normal_(0, 0.5)
        elif "embed" in name:
            value.data.normal_(0, SHAPE["hidden_size"] ** -0.5)
        else:
            value.data.normal_(0, value.shape[-1] ** -0.5)
        # Stored with bfloat16's digits; the reference must compute with the same.
        value.data.copy_(value.data.to(torch.bfloat16))


def forward(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Logits after every token, by one pass without a cache."""
    with torch.no_grad():
        return model(tokens[None], use_cache=False).logits[0].float()


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Only these.")
def main(directory: Path, only: tuple[str, ...]) -> None:
    """Write the fixtures of every variant, or of some, into DIRECTORY."""
    directory.mkdir(parents=True, exist_ok=True)
    ids = read_tokenizer(directory / TOKENIZER).encode(TEXT)
    for name in tqdm(only or list(VARIANTS), unit="checkpoint", disable=None):
        make(name, VARIANTS[name], directory / name, ids)


if __name__ == "__main__":
    main()
