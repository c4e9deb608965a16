"""Write a checkpoint of Qwen3-VL's shape with random weights and a real tokenizer, for benchmarks.

    python -m tools.make_seeing_checkpoint runs/random-seeing

As `make_random_checkpoint`, but as it is published, for what sees is read from such files alone.
"""

import json
from math import prod
from pathlib import Path

import click
import numpy as np
from sentencepiece.sentencepiece_model_pb2 import (
    ModelProto,  # pyright: ignore[reportAttributeAccessIssue]  (made at import)
)

from model.bundled import directory as bundled_directory
from tools.make_random_checkpoint import TOKENIZER, widened_tokenizer
from tools.published_checkpoint import seeing_shapes, write_checkpoint

_MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
_CONTROL = 3
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_FRAMES, _MERGE = 2, 2


def tokenizer(vocab: int) -> bytes:
    """The bundled model's, widened, its last pieces being the marks of images."""
    model = ModelProto.FromString(
        widened_tokenizer((bundled_directory() / TOKENIZER).read_bytes(), vocab - len(_MARKS))
    )
    for mark in _MARKS:
        model.pieces.add(piece=mark, score=0.0, type=_CONTROL)
    model.trainer_spec.vocab_size = vocab
    return model.SerializeToString()


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--layers", default=12, show_default=True, help="Decoder blocks.")
@click.option("--embed", default=768, show_default=True, help="Width of the embedding.")
@click.option("--tower-layers", default=12, show_default=True, help="Blocks of what sees.")
@click.option("--tower-embed", default=384, show_default=True, help="Its width.")
@click.option("--vocab", default=32_000, show_default=True, help="Rows of the embedding.")
@click.option("--context", default=8192, show_default=True, help="Longest context, in tokens.")
@click.option("--seed", default=0, show_default=True, help="Seed of the weights.")
def main(
    target: Path,
    layers: int,
    embed: int,
    tower_layers: int,
    tower_embed: int,
    vocab: int,
    context: int,
    seed: int,
) -> None:
    """Write a Qwen3-VL-shaped checkpoint of random weights, float32, to TARGET."""
    if (target / "config.json").exists():
        raise click.ClickException(f"{target} holds a checkpoint already; give another directory")
    text = {
        "hidden_act": "silu",
        "hidden_size": embed,
        "intermediate_size": 8 * embed // 3 // 64 * 64,
        "max_position_embeddings": context,
        "num_attention_heads": embed // 64,
        "num_hidden_layers": layers,
        "num_key_value_heads": embed // 64 // 3,
        "head_dim": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [12, 10, 10],
            "rope_type": "default",
        },
        "vocab_size": vocab,
        "tie_word_embeddings": True,
    }
    vision = {
        "deepstack_visual_indexes": [tower_layers // 2],
        "depth": tower_layers,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": tower_embed,
        "in_channels": 3,
        "intermediate_size": 4 * tower_embed,
        "num_heads": tower_embed // 64,
        "num_position_embeddings": 2304,
        "out_hidden_size": embed,
        "patch_size": 16,
        "spatial_merge_size": _MERGE,
        "temporal_patch_size": _FRAMES,
    }
    begin, end, token = range(vocab - len(_MARKS), vocab)
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "vision_start_token_id": begin,
        "vision_end_token_id": end,
        "image_token_id": token,
        "tie_word_embeddings": True,
        "text_config": text,
        "vision_config": vision,
    }
    shapes = seeing_shapes(config)
    generator = np.random.default_rng(seed)

    def draw(name: str) -> np.ndarray:
        shape = shapes[name]
        if len(shape) == 1:
            return np.full(shape, 0.0 if name.endswith("bias") else 1.0, np.float32)
        deviation = prod(shape[1:]) ** -0.5
        return generator.standard_normal(shape, np.float32) * np.float32(deviation)

    write_checkpoint(target, config, {name: 4 * prod(shapes[name]) for name in shapes}, draw, 1)
    (target / TOKENIZER).write_bytes(tokenizer(vocab))
    (target / "chat_template.jinja").write_text(_TEMPLATE)
    settings = {"patch_size": 16, "merge_size": _MERGE, "temporal_patch_size": _FRAMES}
    (target / "preprocessor_config.json").write_text(json.dumps(settings) + "\n")
    count = sum(prod(shape) for shape in shapes.values())
    click.echo(json.dumps({"checkpoint": str(target), "parameters": count, "dtype": "float32"}))


if __name__ == "__main__":
    main()
