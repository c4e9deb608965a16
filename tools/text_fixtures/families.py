"""The families whose tokenizers and templates the fixtures hold: what each one has of its own.

Ids, flags and names are those of the published checkpoints in kind; the numbers are smaller.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tokenizers import AddedToken, Tokenizer

from tools.text_fixtures.training import add, byte_level, sentence_piece

SPEAKERS = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Family:
    """How a family's tokenizer and template are published.

    Attributes:
        tokenizer: makes `tokenizer.json`, or None where there is none.
        model: makes `tokenizer.model`, or None where there is none.
        conversion: how the former comes from the latter; see `training.converted`.
        added: added tokens, in order of their ids.
        config: of `tokenizer_config.json`.
        end: spellings of `eos_token_id` in `generation_config.json`; none for no such file.
        place: where the template is: `jinja`, `config`, `list` or `json`.
        begins: whether `tokenizer.json` puts `bos_token` before raw text.
        parts: whether the template goes through the parts of a message.
    """

    tokenizer: Callable[[], Tokenizer] | None = None
    model: Callable[[], bytes] | None = None
    conversion: str = ""
    added: tuple[AddedToken, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    end: tuple[str, ...] = ()
    place: str = "config"
    begins: bool = False
    parts: bool = False


def special(*spellings: str, **flags: bool) -> tuple[AddedToken, ...]:
    """Control tokens."""
    return tuple(AddedToken(text, special=True, normalized=False, **flags) for text in spellings)


def plain(*spellings: str, **flags: bool) -> tuple[AddedToken, ...]:
    """Added tokens that have a text of their own."""
    return tuple(AddedToken(text, normalized=False, **flags) for text in spellings)


def _bytes(words: str, added: tuple[AddedToken, ...], **options: bool) -> Callable[[], Tokenizer]:
    def make() -> Tokenizer:
        tokenizer = byte_level(words, 700, **options)
        add(tokenizer, added)
        return tokenizer

    return make


def _pieces(**options: Any) -> Callable[[], bytes]:
    return lambda: sentence_piece(1000, **options)


_LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_LLAMA3 = special(
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
)  # fmt: skip
_TEKKEN = special(
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
)  # fmt: skip
_QWEN = (
    *special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"),
    *plain("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_suffix|>", "<|file_sep|>"),
)
_QWEN3 = (*_QWEN, *plain("<tool_response>", "</tool_response>", "<think>", "</think>"))
_PHI4 = (
    *special("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *plain("<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>"),
)
_HARMONY = special(
    "<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>",
    "<|start|>", "<|end|>", "<|message|>", "<|call|>",
)  # fmt: skip
_OLMO = (*special("<|endoftext|>", "<|pad|>"), *plain("|||PHONE_NUMBER|||", "|||IP_ADDRESS|||"))
_GEMMA_WORDS = ("\n\n", "\n\n\n", "<table>", "</table>", "<h1>", "</h1>", "\u2581\u2581")
_GEMMA = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}
_GEMMA_MODEL: dict[str, Any] = {
    "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3,
    "pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>",
    "add_dummy_prefix": False,
}  # fmt: skip
_GEMMA_ADDED = (
    *special("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
    *plain("<unused0>", *_GEMMA_WORDS),
)
_PHI3_ADDED = (
    *special("<unk>", "<s>"),
    *plain("</s>", rstrip=True),
    *special("<|endoftext|>"),
    *special("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", rstrip=True),
)

FAMILIES = {
    "llama2": Family(
        model=_pieces(),
        conversion="every",
        added=special("<unk>", "<s>", "</s>"),
        config={**_LLAMA, "add_bos_token": True, "add_eos_token": False},
        begins=True,
        end=("</s>",),
    ),
    "llama3": Family(
        tokenizer=_bytes("gpt4", _LLAMA3),
        config={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        end=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
        begins=True,
    ),
    "mistral_v1": Family(
        model=_pieces(), config={**_LLAMA, "legacy": True, "add_bos_token": True}, end=("</s>",)
    ),
    "mistral_v3": Family(
        model=_pieces(control_symbols=["[INST]", "[/INST]", "[TOOL_CALLS]"]),
        conversion="first",
        added=special("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"),
        config=_LLAMA,
        place="list",
    ),
    "mistral_tekken": Family(
        tokenizer=_bytes("tekken", _TEKKEN), config=_LLAMA, end=("</s>",), parts=True
    ),
    "mixtral": Family(model=_pieces(), config={**_LLAMA, "legacy": False}, place="json"),
    "qwen2_5": Family(
        tokenizer=_bytes("qwen2", _QWEN, composed=True),
        config={"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        end=("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen3": Family(
        tokenizer=_bytes("qwen2", _QWEN3, composed=True),
        config={"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        end=("<|endoftext|>",),
        place="jinja",
    ),
    "gemma2": Family(
        model=_pieces(
            **_GEMMA_MODEL,
            user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "<unused0>", *_GEMMA_WORDS],
        ),
        conversion="never",
        added=_GEMMA_ADDED,
        config=_GEMMA,
        end=("<eos>",),
        begins=True,
    ),
    "gemma3": Family(
        model=_pieces(
            **_GEMMA_MODEL,
            user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "<unused0>", *_GEMMA_WORDS],
        ),
        conversion="never",
        added=(*_GEMMA_ADDED, *special("<start_of_image>")),
        config=_GEMMA,
        end=("<eos>", "<end_of_turn>"),
        place="jinja",
        parts=True,
    ),
    "phi3": Family(
        model=_pieces(),
        conversion="every",
        added=_PHI3_ADDED,
        config={**_LLAMA, "eos_token": "<|endoftext|>"},
        end=("<|endoftext|>", "<|end|>"),
    ),
    "phi4_mini": Family(
        tokenizer=_bytes("gpt4o", _PHI4),
        config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
        end=("<|end|>", "<|endoftext|>"),
    ),
    "gpt_oss": Family(
        tokenizer=_bytes("gpt4o", _HARMONY),
        config={"bos_token": "<|startoftext|>", "eos_token": "<|return|>"},
        end=("<|return|>", "<|call|>", "<|endoftext|>"),
        place="jinja",
    ),
    "olmo2": Family(
        tokenizer=_bytes("gpt4", _OLMO),
        config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    ),
}
