"""What lies beside a whole model and is none of its files does not keep it from being served."""

from pathlib import Path

import pytest
from support.foreign_directories import (
    ADAPTER,
    LORA,
    POINTER,
    Change,
    both,
    cached,
    configured,
    nothing,
    whole,
    write,
    write_json,
)
from support.published import random_tensors, write_published

from model import bundled
from model.config import CheckpointError
from model.foreign import check_directory
from model.loading import load_end_ids, load_tokenizer, open_model
from model.mesh import make_mesh

BESIDE: dict[str, Change] = {
    "nothing else": nothing,
    "pickles": write("pytorch_model.bin", b"\x80"),
    "pickles that were not downloaded": write("pytorch_model.bin", POINTER),
    "all forms": both(
        *(
            write(name, b"\x00")
            for name in (
                "flax_model.msgpack",
                "model-Q4_K_M.gguf",
                "onnx/model.onnx",
                "openvino_model.xml",
                "original/consolidated.00.pth",
                "original/params.json",
                "tf_model.h5",
            )
        )
    ),
    "Mistral's own form": both(write("consolidated.safetensors", b""), write("params.json", "{}")),
    "a quantization for transformers.js": write_json(
        "quantize_config.json", {"per_channel": True, "reduce_range": True, "modes": ["q4"]}
    ),
    "a quantization of the cache alone": write_json(
        "hf_quant_config.json",
        {
            "producer": {"name": "modelopt", "version": "0.39.0"},
            "quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"},
        },
    ),
    "no quantization": configured(quantization_config=None),
    "what a trainer leaves": both(
        *(
            write(name, b"PK")
            for name in ("optimizer.pt", "rng_state.pth", "scheduler.pt", "training_args.bin")
        ),
        write("trainer_state.json", "{}"),
    ),
    "an adapter in a folder of its own": both(
        write_json("adapter/adapter_config.json", LORA),
        write("adapter/adapter_model.safetensors", b""),
    ),
    "adapters of other names": both(
        write_json("adapters_config.json", LORA), write("adapter.bin", b"")
    ),
    "a clone": both(write(".gitattributes", "*.safetensors filter=lfs"), write(".git/HEAD", "")),
    "a download": write(".cache/huggingface/download/config.json.metadata", ""),
    "other checkpoints": write("checkpoint-100/config.json", "{}"),
}


def check_opened(directory: Path) -> None:
    opened = open_model(directory, make_mesh(), "float32")
    tokenizer = load_tokenizer(directory, opened.config)
    load_end_ids(directory, opened.config, tokenizer)


@pytest.mark.parametrize("what", BESIDE)
def test_what_may_lie_beside_a_model(tmp_path: Path, what: str) -> None:
    directory = whole(tmp_path / "model")
    BESIDE[what](directory)
    check_opened(directory)


def test_another_form_beside_shards(tmp_path: Path) -> None:
    directory = write_published(tmp_path / "model", random_tensors(), shards=3)
    (directory / "consolidated.safetensors").write_bytes(b"")
    open_model(directory, make_mesh(), "float32")


def test_a_snapshot_whose_files_are_links(tmp_path: Path) -> None:
    snapshot = cached(whole(tmp_path))
    (tmp_path / "link").symlink_to(snapshot)
    check_opened(snapshot)
    check_opened(tmp_path / "link")


def test_the_bundled_model() -> None:
    check_directory(bundled.directory())


@pytest.mark.parametrize("said", ["[", "[]", '{"base_model_name_or_path": null}'])
def test_an_adapter_that_does_not_say_of_what(tmp_path: Path, said: str) -> None:
    both(ADAPTER, write("adapter_config.json", said))(whole(tmp_path))
    with pytest.raises(CheckpointError, match="to a model that is not named, and "):
        check_directory(tmp_path)


def test_an_adapter_beside_a_model_of_ours(tmp_path: Path) -> None:
    both(ADAPTER, write("weights/manifest.json", "{}"))(tmp_path)
    with pytest.raises(CheckpointError, match="beside weights, changes to the model meta-"):
        check_directory(tmp_path)


def test_an_embedding_model_under_the_name_of_a_decoder(tmp_path: Path) -> None:
    """As Qwen3-Embedding is published."""
    tensors = random_tensors()
    bare = {name.removeprefix("model."): value for name, value in tensors.items()}
    del bare["lm_head.weight"]
    write_published(tmp_path, bare)
    with pytest.raises(CheckpointError, match=r"has embed_tokens\.weight for model\.embed_tokens"):
        open_model(tmp_path, make_mesh(), "float32")
