"""Model directories that are broken, or of another kind, and what is to be said of each.

Made from a whole one by small changes; files have the names and forms that other programs give
them.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.gguf_files import from_hub

FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
PART = "model-00001-of-00002.gguf"
REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
LORA = {"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3.2-1B", "r": 16}
# Every command that opens a model; `plan` reads its config.json and no other file of a whole one.
ALL = frozenset({"serve", "convert", "plan"})
READ = frozenset({"serve", "convert"})
SERVED = frozenset({"serve"})

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A directory, and what is said of it.

    Attributes:
        change: makes it of a whole one.
        thing: what the sentence names, with `{path}` for the whole path of the directory.
        remedy: what it says to do.
        commands: that say so.
        given: what is given as the model, from the directory.
    """

    change: Change
    thing: str
    remedy: str
    commands: frozenset[str] = ALL
    given: str = "."


def whole(directory: Path) -> Path:
    """A directory that can be served."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(FIXTURES / "llama-3.1" / name, directory)
    shutil.copy(FIXTURES / "tokenizer.model", directory)
    (directory / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    return directory


def nothing(path: Path) -> None:
    """Leave it whole."""


def write(name: str, content: str | bytes) -> Change:
    """Write a file."""

    def change(path: Path) -> None:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def write_json(name: str, value: object) -> Change:
    """Write a JSON file."""
    return write(name, json.dumps(value))


def configured(**entries: Any) -> Change:
    """Change entries of config.json."""

    def change(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | entries))

    return change


def without(*names: str) -> Change:
    """Remove files."""
    return lambda path: [(path / name).unlink() for name in names]


def only(name: str, content: str | bytes = b"\x80") -> Change:
    """Have the weights in a file of this name in the place of safetensors."""
    return both(without("model.safetensors"), write(name, content))


def empty(path: Path) -> None:
    """Remove all that there is."""
    for file in path.iterdir():
        file.unlink()


def both(*changes: Change) -> Change:
    """One change after another."""
    return lambda path: [change(path) for change in changes]


def gguf_file(alter: Callable[[bytes], bytes] = bytes, **facts: Any) -> Change:
    """Put a GGUF file of the model there, with other facts, or without them, and then altered."""

    def change(path: Path) -> None:
        file = from_hub(path, path / "model.gguf", facts)
        file.write_bytes(alter(file.read_bytes()))

    return change


def truncate(path: Path) -> None:
    """Lose the weights' end."""
    os.truncate(path / "model.safetensors", (path / "model.safetensors").stat().st_size - 10)


def cached(path: Path) -> Path:
    """Move the files to where the hub's own downloads keep them, which are links to blobs there."""
    place = path / "models--some-org--Some-Model"
    files = list(path.iterdir())
    snapshot, blobs = place / "snapshots" / REVISION, place / "blobs"
    for directory in (snapshot, blobs, place / "refs"):
        directory.mkdir(parents=True)
    (place / "refs" / "main").write_text(REVISION)
    for number, file in enumerate(files):
        file.rename(blobs / f"{number:040x}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
    return snapshot


def broken_link(path: Path) -> None:
    """Have a link where its file has been removed."""
    (path / "config.json").unlink()
    (path / "config.json").symlink_to("../../blobs/1234")


def circle(path: Path) -> None:
    """A link to itself."""
    (path / "link").symlink_to("link")


ADAPTER = both(
    write_json("adapter_config.json", LORA), write("adapter_model.safetensors", b"\x08" + bytes(9))
)
INDEX = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
MODULES = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]
DOWNLOAD = "download it again"
NAMED = "give that file"
ELSEWHERE = "give a directory with the same model as safetensors"
UNQUANTIZED = "or the model as it was before that, in bfloat16, float16 or float32"
GIVE = "give the directory of a checkpoint"
LFS = "a pointer that Git LFS left"
PULL = "run git lfs pull in its directory"

CASES: dict[str, Case] = {
    # Adapters.
    "adapter alone": Case(
        both(empty, ADAPTER),
        "{path} holds an adapter (adapter_config.json), changes to the model "
        "meta-llama/Llama-3.2-1B, and is no model",
        "give that model, and serve this beside it: --adapter NAME=",
    ),
    "adapter beside weights": Case(
        ADAPTER,
        "{path} holds an adapter (adapter_config.json) beside weights, changes to the model meta-",
        "or move adapter_config.json and adapter_model.safetensors away to serve the weights alone",
    ),
    "old adapter without its config": Case(
        both(empty, write("adapter_model.bin", b"\x80")),
        "holds an adapter (adapter_model.bin), changes to a model that is not named",
        "merge it into that model (with the program that trained it)",
    ),
    "adapter of MLX": Case(
        both(
            empty,
            write_json("adapter_config.json", {"fine_tune_type": "lora", "model": "some/base"}),
            write("adapters.safetensors", b""),
        ),
        "an adapter (adapter_config.json), changes to the model some/base",
        "with the program that trained it",
    ),
    # What was not downloaded.
    "pointer for weights": Case(
        write("model.safetensors", POINTER), f"model.safetensors is {LFS}", PULL, READ
    ),
    "pointer for a tokenizer.model": Case(
        write("tokenizer.model", POINTER), f"tokenizer.model is {LFS}", PULL, READ
    ),
    "pointer for a tokenizer.json": Case(
        write("tokenizer.json", POINTER), f"tokenizer.json is {LFS}", PULL, READ
    ),
    "pointer for a template": Case(
        write("chat_template.jinja", POINTER), f"chat_template.jinja is {LFS}", PULL, READ
    ),
    "pointer for a config": Case(
        write("config.json", POINTER), f"config.json is {LFS}", "or download the file itself"
    ),
    "missing shard": Case(
        both(without("model.safetensors"), write_json("model.safetensors.index.json", INDEX)),
        "model-00001-of-00002.safetensors is missing, and model.safetensors.index.json names it",
        DOWNLOAD,
        READ,
    ),
    "shard without an index": Case(
        lambda path: (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors"),
        "has model-00001-of-00002.safetensors and neither model.safetensors nor",
        "download the whole directory as it was published",
        READ,
    ),
    "truncated weights": Case(truncate, "it is truncated", DOWNLOAD, READ),
    "empty weights": Case(
        write("model.safetensors", b""), "is truncated or no safetensors file", DOWNLOAD, READ
    ),
    "broken config": Case(
        write("config.json", '{"architectures": ['), "config.json is not valid JSON", DOWNLOAD
    ),
    "config that is a list": Case(
        write("config.json", "[]"), "config.json holds no JSON object", DOWNLOAD
    ),
    "broken link": Case(
        broken_link, "config.json is a link to ../../blobs/1234, which is not there", DOWNLOAD
    ),
    "no weights": Case(
        without("model.safetensors"), "{path} has no weights", "give a directory with", READ
    ),
    "no config": Case(
        both(without("config.json"), write("model-Q8_0.gguf", b"GGUF")),
        "{path} has no config.json;",
        GIVE,
    ),
    "no tokenizer": Case(
        without("tokenizer.model"),
        "{path} has no tokenizer",
        "put the checkpoint's tokenizer.json, or its tokenizer.model, there",
        SERVED,
    ),
    "tokenizer in two files": Case(
        both(without("tokenizer.model"), write("vocab.json", "{}"), write("merges.txt", "")),
        "has a tokenizer as vocab.json and merges.txt and none as tokenizer.json",
        "AutoTokenizer.from_pretrained",
        SERVED,
    ),
    "tokenizer of Mistral": Case(
        both(without("tokenizer.model"), write("tekken.json", "{}")),
        "has a tokenizer as tekken.json, which is not read",
        "put the tokenizer.json",
        SERVED,
    ),
    "no template": Case(
        without("chat_template.jinja"),
        "{path} has no chat template",
        "give the file of one with --chat-template",
        SERVED,
    ),
    # Other forms of weights.
    "pickles": Case(
        only("pytorch_model.bin"),
        "{path} has its weights in PyTorch's pickles (pytorch_model.bin), which is not read",
        "write them as safetensors with transformers: AutoModelForCausalLM.from_pretrained",
        READ,
    ),
    "sharded pickles": Case(
        only("pytorch_model-00001-of-00002.bin"), "PyTorch's pickles", "save_pretrained", READ
    ),
    "GGUF in a directory": Case(
        both(empty, write("some-model-Q4_K_M.gguf", b"GGUF")),
        "{path} has its weights in GGUF (some-model-Q4_K_M.gguf), which is read where it is named",
        NAMED,
    ),
    "GGUF beside a config": Case(only("model.gguf", b"GGUF"), "in GGUF", NAMED, READ),
    "pointer for a GGUF file": Case(
        write("model.gguf", POINTER), f"model.gguf is {LFS}", PULL, given="model.gguf"
    ),
    "GGUF cut short": Case(
        gguf_file(lambda data: data[:-1000]),
        "{path}/model.gguf is 73720 bytes long, and its tensor blk.2.attn_v.weight ends at 74560",
        "download it again",
        given="model.gguf",
    ),
    "GGUF of another format": Case(
        gguf_file(lambda data: b"GGML" + data[4:]),
        "{path}/model.gguf is no GGUF file: it does not begin with GGUF",
        "give one",
        given="model.gguf",
    ),
    "GGUF of another architecture": Case(
        gguf_file(**{"general.architecture": "mamba"}),
        "{path}/model.gguf",
        "mamba",
        given="model.gguf",
    ),
    "GGUF without a setting": Case(
        gguf_file(**{"llama.block_count": None}),
        "{path}/model.gguf",
        "llama.block_count",
        given="model.gguf",
    ),
    "GGUF without a tokenizer": Case(
        gguf_file(**{"tokenizer.ggml.model": None}),
        "{path}/model.gguf",
        "tokenizer",
        given="model.gguf",
    ),
    "GGUF cut in another way": Case(
        gguf_file(**{"tokenizer.ggml.pre": "of-another"}),
        "{path}/model.gguf",
        "of-another",
        given="model.gguf",
    ),
    "GGUF of more layers": Case(
        gguf_file(**{"llama.block_count": 9}),
        "{path}/model.gguf",
        "lacks the tensor",
        READ,
        given="model.gguf",
    ),
    "GGUF of an adapter": Case(
        gguf_file(**{"general.type": "adapter"}),
        "{path}/model.gguf",
        "adapter",
        given="model.gguf",
    ),
    "GGUF without a part": Case(
        both(gguf_file(), lambda path: (path / "model.gguf").rename(path / PART)),
        "{path}/model-00002-of-00002.gguf is missing, part 2 of 2 of the model",
        "put all parts into one directory",
        given=PART,
    ),
    "ONNX": Case(only("onnx/model.onnx"), "in ONNX (onnx/model.onnx)", ELSEWHERE, READ),
    "TensorFlow": Case(only("tf_model.h5"), "in TensorFlow's (tf_model.h5)", ELSEWHERE, READ),
    "Flax": Case(only("flax_model.msgpack"), "in Flax's (flax_model.msgpack)", ELSEWHERE, READ),
    "original of Meta": Case(
        both(empty, write("params.json", "{}"), write("consolidated.00.pth", b"PK")),
        "in Meta's own form (consolidated.00.pth)",
        "give the model in the form of transformers",
    ),
    "original of Mistral": Case(
        both(empty, write("params.json", "{}"), write("consolidated.safetensors", b"")),
        "in Mistral's own form (consolidated.safetensors)",
        "give the model in the form of transformers",
    ),
    # Quantized.
    "AWQ for vectors": Case(
        configured(quantization_config={"quant_method": "awq", "bits": 4, "version": "gemv"}),
        "config.json quantization_config has version: 'gemv', whose order of codes is not read",
        "or the model as it was before it was quantized",
    ),
    "AWQ of which nothing is there": Case(
        configured(quantization_config={"quant_method": "awq", "bits": 4, "version": "gemm"}),
        "says that its weights are quantized (awq), and none of its tensors is",
        "give the checkpoint as it was published",
        READ,
    ),
    "GPTQ of three bits": Case(
        configured(quantization_config={"quant_method": "gptq", "bits": 3, "sym": True}),
        "config.json quantization_config has bits: 3, which is not supported",
        "supported: 4, 8, 2",
    ),
    "Marlin": Case(
        configured(
            quantization_config={"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}
        ),
        "has checkpoint_format: 'marlin', which is not supported",
        "supported: 'gptq', 'gptq_v2'",
    ),
    "bitsandbytes": Case(
        configured(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "quantized (bitsandbytes)",
        UNQUANTIZED,
    ),
    "old bitsandbytes": Case(
        configured(quantization_config={"load_in_8bit": True, "llm_int8_threshold": 6.0}),
        "quantized (bitsandbytes)",
        UNQUANTIZED,
    ),
    "quantized in some way": Case(
        configured(quantization_config={"format": "pack-quantized"}),
        "says that the weights are quantized, which is not served",
        UNQUANTIZED,
    ),
    "NVFP4": Case(
        configured(
            quantization_config={
                "quant_method": "compressed-tensors",
                "format": "nvfp4-pack-quantized",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "float"}}},
            }
        ),
        "has weights of type 'float' in the format 'nvfp4-pack-quantized', which is not supported",
        "supported: 'int' in pack-quantized, int-quantized or naive-quantized, 'float' of 8 bits",
    ),
    "MLX": Case(
        configured(quantization={"bits": 4}, quantization_config={"bits": 4}),
        "quantized (MLX, 4 bits)",
        UNQUANTIZED,
    ),
    "ModelOpt": Case(
        write_json("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4"}}),
        "hf_quant_config.json says that the weights are quantized (NVFP4)",
        UNQUANTIZED,
    ),
    "old GPTQ": Case(
        write_json("quantize_config.json", {"bits": 3, "group_size": 128, "desc_act": True}),
        "quantize_config.json has bits: 3, which is not supported",
        "supported: 4, 8, 2",
    ),
    "old AWQ": Case(
        write_json("quant_config.json", {"w_bit": 4, "q_group_size": 128, "version": "GEMV"}),
        "quant_config.json has version: 'GEMV', whose order of codes is not read",
        "or the model as it was before it was quantized",
    ),
    # Other models.
    "encoder": Case(
        configured(architectures=["BertForMaskedLM"], model_type="bert"),
        "names the architecture ['BertForMaskedLM'], an encoder, which writes no text",
        "give a model of one that is supported: ",
    ),
    "embeddings": Case(
        configured(architectures=["BertModel"], model_type="bert"),
        "['BertModel'], a model without the head that writes text, as embedding models are",
        "give a model of one that is supported: ",
    ),
    "classifier": Case(
        configured(architectures=["LlamaForSequenceClassification"]),
        "['LlamaForSequenceClassification'], a classifier, which writes no text",
        "give a model of one that is supported: ",
    ),
    "pictures and text": Case(
        configured(architectures=["CLIPModel"], vision_config={}, text_config={}),
        "['CLIPModel'], a model of more than text",
        "give a model of one that is supported: ",
    ),
    "translation": Case(
        configured(architectures=["T5ForConditionalGeneration"], is_encoder_decoder=True),
        "an encoder and a decoder, as for translation or speech",
        "give a model of one that is supported: ",
    ),
    "unknown family": Case(
        configured(architectures=["MambaForCausalLM"], model_type="mamba"),
        "names the architecture ['MambaForCausalLM'];",
        "give a model of one that is supported: ",
    ),
    "no architecture": Case(
        configured(architectures=None, model_type="mystery"),
        "names the architecture None where one belongs (its model_type is 'mystery')",
        "give a model of one that is supported: ",
    ),
    "pipeline of diffusers": Case(
        both(
            empty,
            write_json("model_index.json", {"_class_name": "StableDiffusionPipeline"}),
            write("unet/config.json", "{}"),
        ),
        "{path} is a pipeline of diffusers (model_index.json), which makes pictures",
        "give a model that writes text",
    ),
    # Another place.
    "empty directory": Case(empty, "{path} is empty", GIVE),
    "model in the hub's cache": Case(
        cached,
        "models--some-org--Some-Model has no config.json, and checkpoints lie in "
        f"{{path}}/models--some-org--Some-Model/snapshots/{REVISION}",
        "give one of these directories",
        given="models--some-org--Some-Model",
    ),
    "blobs in the hub's cache": Case(
        cached,
        "blobs has no config.json, and checkpoints lie in "
        f"{{path}}/models--some-org--Some-Model/snapshots/{REVISION}",
        "give one of these directories",
        given="models--some-org--Some-Model/blobs",
    ),
    "hub's cache": Case(
        cached, f"snapshots/{REVISION}", "give one of these directories", given="."
    ),
    "directory of checkpoints": Case(
        both(
            empty,
            *(write(f"checkpoint-{step}/config.json", "{}") for step in (100, 200, 300, 400)),
        ),
        "checkpoints lie in {path}/checkpoint-100, {path}/checkpoint-200, {path}/checkpoint-300 … "
        "(4 of them)",
        "give one of these directories",
    ),
    "file of weights": Case(
        nothing,
        "{path}/model.safetensors is a file, and no GGUF file",
        GIVE,
        given="model.safetensors",
    ),
    "nothing": Case(nothing, "{path}/none is not a directory", GIVE, given="none"),
    "circle of links": Case(circle, "{path}/link is not a directory", GIVE, given="link"),
}
