"""A tiny model that sees, with random weights, for clients to be tried on.

It is Qwen3-VL's as the tests have it, with a character for each id: those of English, so that
it reads questions and can write JSON, and others for the rest.
"""

import json
import shutil
import string
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models

_FIXTURE = Path(__file__).parent.parent / "tests" / "fixtures" / "models" / "qwen-3-vl"
_CONTROLS = {317: "<|vision_start|>", 318: "<|vision_end|>", 319: "<|image_pad|>"}
_ENGLISH = string.digits + string.ascii_letters + string.punctuation + " \n"
# The first ids' are other characters, for some of these end an answer.
_OTHERS, _FIRST_ENGLISH = 0x4E00, 3

_TEMPLATE = """\
{%- for message in messages -%}
  {%- for part in [message] if message.content is string -%}{{ part.content }}{%- endfor -%}
  {%- for part in message.content if message.content is not string -%}
    {%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
    {%- else -%}{{ part.text }}
    {%- endif -%}
  {%- endfor -%}
{%- endfor -%}
"""
# Characters of questions with tools.
_CONTEXT = 2_048
# A token for each 8 × 8 pixels.
_PROCESSOR = {
    "patch_size": 4,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "size": {"shortest_edge": 64, "longest_edge": 8_192},
}


def write_seeing_model(target: Path) -> Path:
    """Write the checkpoint to a directory, whose name is the model's; returns it."""
    target.mkdir()
    for name in ("generation_config.json", "model.safetensors"):
        shutil.copy(_FIXTURE / name, target)
    config = json.loads((_FIXTURE / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["max_position_embeddings"] = _CONTEXT
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    _tokenizer().save(str(target / "tokenizer.json"))
    (target / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")
    (target / "preprocessor_config.json").write_text(json.dumps(_PROCESSOR), encoding="utf-8")
    return target


def _tokenizer() -> Tokenizer:
    vocabulary = {_CONTROLS.get(token, chr(_OTHERS + token)): token for token in range(320)}
    for token, character in enumerate(_ENGLISH, _FIRST_ENGLISH):
        del vocabulary[chr(_OTHERS + token)]
        vocabulary[character] = token
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in _CONTROLS.values()])
    return tokenizer
