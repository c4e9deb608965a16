"""Small adapters of the tests' tiny models, made and run by PEFT, for the tests.

    python -m tools.make_adapter_fixtures tests/fixtures/models tests/fixtures/adapters

Needs torch, transformers and peft, as `make_parity_fixtures` does but for the last. Each variant
becomes a directory with what PEFT's `save_pretrained` writes, of random values, and
`expected.safetensors`: ids, and the logits after each of them of the model with the adapter merged
into its weights. `model.txt` names the model, a directory of the first argument.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

MODEL = "model.txt"


@dataclass(frozen=True)
class Variant:
    """An adapter to make.

    Attributes:
        model: that it changes.
        settings: of PEFT's configuration.
    """

    model: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


VARIANTS: dict[str, Variant] = {
    "all-linear": Variant("llama-3.1", {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}),
    "queries-and-values": Variant(
        "llama-3.1", {"r": 16, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    ),
    "patterns": Variant(
        "llama-3.1",
        {
            "r": 2,
            "lora_alpha": 3,
            "target_modules": r".*\.(down|o|gate)_proj",
            "rank_pattern": {"down_proj": 6, r"layers\.1\.self_attn\.o_proj": 3},
            "alpha_pattern": {r"mlp\..*_proj": 5},
        },
    ),
    "by-root": Variant(
        "qwen-2.5",
        {
            "r": 9,
            "lora_alpha": 4,
            "use_rslora": True,
            "target_modules": "all-linear",
        },
    ),
    "some-layers": Variant(
        "qwen-3",
        {
            "r": 3,
            "lora_alpha": 6,
            "target_modules": ["k_proj", "o_proj", "up_proj", "down_proj"],
            "layers_to_transform": [0, 2],
        },
    ),
    "norms-around": Variant("gemma-2", {"r": 5, "lora_alpha": 10, "target_modules": "all-linear"}),
    "windows": Variant("gemma-3", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "fused": Variant("phi-3", {"r": 4, "lora_alpha": 4, "target_modules": "all-linear"}),
    "beside-experts": Variant(
        "gpt-oss", {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "o_proj"]}
    ),
}


def make(name: str, variant: Variant, models: Path, directory: Path) -> None:
    """Write one variant's directory."""
    torch.manual_seed(sum(name.encode()))
    base = models / variant.model
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, attn_implementation="eager"
    )
    tokens = load_file(base / "expected.safetensors")["tokens"]
    plain = logits(model, tokens)
    config = peft.LoraConfig(task_type="CAUSAL_LM", **variant.settings)
    adapted = peft.get_peft_model(model, config)
    for key, value in adapted.named_parameters():
        if "lora_" in key:
            value.data.normal_(0, value.shape[-1] ** -0.5)
    adapted.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    # Where the model was is nobody's concern.
    path = directory / "adapter_config.json"
    path.write_text(path.read_text().replace(str(base), f"tiny/{variant.model}"))
    (directory / MODEL).write_text(f"{variant.model}\n")
    merged = logits(adapted.merge_and_unload(), tokens)
    save_file({"tokens": tokens, "logits": merged}, directory / "expected.safetensors")
    tqdm.write(f"{name}: the adapter moves logits by up to {np.abs(merged - plain).max():.2f}")


def logits(model: Any, tokens: np.ndarray) -> np.ndarray:
    """After every token, by one pass without a cache."""
    with torch.no_grad():
        ids = torch.tensor(tokens, dtype=torch.long)[None]
        return model.eval()(ids, use_cache=False).logits[0].float().numpy()


@click.command()
@click.argument("models", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Only these.")
def main(models: Path, directory: Path, only: tuple[str, ...]) -> None:
    """Write adapters of MODELS, every variant or some, into DIRECTORY."""
    for name in tqdm(only or list(VARIANTS), unit="adapter", disable=None):
        make(name, VARIANTS[name], models, directory / name)


if __name__ == "__main__":
    main()
