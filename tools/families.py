"""Tables of the model families, for the documentation: read from the code and the fixtures."""

import json
from collections.abc import Iterator
from pathlib import Path

from model.config import ModelConfig
from model.families.registry import FAMILIES, read_config
from model.vision.loading import read_vision

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "models"
_NORMS = {"before": "", "after": "norms after", "around": "norms before and after"}
_QK_NORMS = {"none": "", "head": "query and key norms", "width": "query and key norms over heads"}


def families_table() -> str:
    """Each architecture, what it is known by, and the fixtures that check it."""
    checked: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for variant, architecture in _variants():
        checked[architecture].append(variant)
    rows = ["| models | `architectures` in config.json | checked by |", "|---|---|---|"]
    rows += [
        f"| {family.models} | `{name}` | {', '.join(checked[name])} |"
        for name, family in FAMILIES.items()
    ]
    return "\n".join(rows) + "\n"


def variants_table() -> str:
    """Each fixture and the parts of the decoder that it exercises."""
    rows = ["| fixture | exercises |", "|---|---|"]
    for variant, _ in _variants():
        config = read_config(FIXTURES / variant)
        rows.append(f"| {variant} | {', '.join(parts(variant, config))} |")
    return "\n".join(rows) + "\n"


def _variants() -> Iterator[tuple[str, str]]:
    for path in sorted(FIXTURES.glob("*/config.json")):
        yield path.parent.name, json.loads(path.read_text())["architectures"][0]


def parts(variant: str, config: ModelConfig) -> Iterator[str]:
    """What of the decoder a configuration uses, in words."""
    yield f"{config.num_heads} query and {config.num_kv_heads} kv heads of {config.head_dim}"
    rope = read_rope_kind(FIXTURES / variant)
    if rope != "default":
        yield f"rope {rope}"
    windows = [layer.window for layer in config.layers]
    if any(windows):
        size = next(window for window in windows if window)
        where = "all" if all(windows) else f"{sum(map(bool, windows))} of {len(windows)}"
        yield f"window of {size} on {where} layers"
    if config.layers[0].rope.axes:
        yield "positions of three axes"
    if len({layer.rope for layer in config.layers}) > 1:
        yield "two rotary bases"
    if 2 * len(config.layers[0].rope.frequencies) < config.head_dim:
        yield "part of each head rotated"
    biases = (("qkv", config.qkv_bias), ("output", config.out_bias), ("mlp", config.mlp_bias))
    if any(has for _, has in biases):
        yield f"{', '.join(name for name, has in biases if has)} bias"
    yield from filter(None, (_NORMS[config.norms], _QK_NORMS[config.qk_norm]))
    if config.attention_softcap or config.logit_softcap:
        yield "soft caps"
    if config.attention_sinks:
        yield "attention sinks"
    if config.experts is not None:
        layers = sum(layer.experts for layer in config.layers)
        experts = config.experts
        yield f"{experts.chosen} of {experts.count} experts in {layers} of {len(windows)} layers"
    if "quantization_config" in json.loads((FIXTURES / variant / "config.json").read_text()):
        yield "MXFP4 experts"
    if (tower := read_vision(FIXTURES / variant)) is not None:
        yield f"a tower of {tower.num_layers} blocks beside it"
    yield "tied head" if config.tied_head else "head of its own"


def read_rope_kind(directory: Path) -> str:
    """The kind of rotary embedding that a fixture's config names."""
    config = json.loads((directory / "config.json").read_text())
    scaling = config.get("text_config", config)["rope_parameters"]
    kinds = {
        value["rope_type"] for value in (scaling, *scaling.values()) if "rope_type" in _dict(value)
    }
    return " and ".join(sorted(kinds - {"default"})) or "default"


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
