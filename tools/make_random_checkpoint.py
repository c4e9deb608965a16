"""Write a checkpoint of any shape with random weights and a real tokenizer, for benchmarks.

    python -m tools.make_random_checkpoint runs/random-100m --layers 12 --embed 768 \
        --heads 12 --kv-heads 4 --ffn 2048 --vocab 32000

The weights are drawn from a seed, so that a figure can be measured again. The tokenizer is
the bundled model's, widened to the model's vocabulary with pieces that no text needs: it reads
text as before, and every id that a random model samples shows as text.
"""

import json
import shutil
from pathlib import Path

import click
import jax.numpy as jnp
from sentencepiece.sentencepiece_model_pb2 import (
    ModelProto,  # pyright: ignore[reportAttributeAccessIssue]  (made at import)
)

from model.bundled import directory as bundled_directory
from model.config import ModelConfig
from model.families.registry import read_config
from model.parameters import count_parameters, random_arrays
from model.weights.orbax import save_weights

TEXT_FILES = ("chat_template.jinja", "generation_config.json")
TOKENIZER = "tokenizer.model"
# Below the score of every learned piece, so that no text is cut into a widening one.
UNUSED_SCORE = -1e6


def widened_tokenizer(source: bytes, vocab: int) -> bytes:
    """A SentencePiece model with pieces ` w1024`, ` w1025`, … added up to `vocab`.

    Raises:
        ValueError: it has more pieces already.
    """
    model = ModelProto.FromString(source)
    if vocab < len(model.pieces):
        raise ValueError(f"vocab is {vocab}; it must be at least {len(model.pieces)}")
    space = "\u2581" if model.normalizer_spec.escape_whitespaces else " "
    for token in range(len(model.pieces), vocab):
        model.pieces.add(piece=f"{space}w{token}", score=UNUSED_SCORE - token)
    model.trainer_spec.vocab_size = vocab
    return model.SerializeToString()


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--layers", default=12, show_default=True, help="Decoder blocks.")
@click.option("--embed", default=768, show_default=True, help="Width of the embedding.")
@click.option("--heads", default=12, show_default=True, help="Query heads.")
@click.option("--kv-heads", default=4, show_default=True, help="Key-value heads.")
@click.option("--head-dim", default=64, show_default=True, help="Width of a head.")
@click.option("--ffn", default=2048, show_default=True, help="Width of the feed-forward layer.")
@click.option("--vocab", default=32_000, show_default=True, help="Rows of the embedding.")
@click.option("--context", default=2048, show_default=True, help="Longest context, in tokens.")
@click.option("--tied/--untied", default=True, show_default=True, help="Head shares the embedding.")
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True
)
@click.option("--seed", default=0, show_default=True, help="Seed of the weights.")
def main(
    target: Path,
    layers: int,
    embed: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    ffn: int,
    vocab: int,
    context: int,
    tied: bool,
    dtype: str,
    seed: int,
) -> None:
    """Write a Llama-shaped checkpoint of random weights to TARGET."""
    if (target / "config.json").exists():
        raise click.ClickException(f"{target} holds a checkpoint already; give another directory")
    published = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": embed,
        "intermediate_size": ffn,
        "max_position_embeddings": context,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": tied,
        "vocab_size": vocab,
    }
    try:
        tokenizer = widened_tokenizer((bundled_directory() / TOKENIZER).read_bytes(), vocab)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    target.mkdir(parents=True, exist_ok=True)
    (target / TOKENIZER).write_bytes(tokenizer)
    for name in TEXT_FILES:
        shutil.copy(bundled_directory() / name, target / name)
    (target / "config.json").write_text(json.dumps(published, indent=2) + "\n")
    config: ModelConfig = read_config(target)
    save_weights(target, random_arrays(config, jnp.dtype(dtype), seed))
    click.echo(f"{target}: {count_parameters(config) / 1e6:.1f} M parameters, {dtype}", err=True)
    summary = {"checkpoint": str(target), "parameters": count_parameters(config), "dtype": dtype}
    click.echo(json.dumps(summary))


if __name__ == "__main__":
    main()
