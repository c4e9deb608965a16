"""The bundled model's SentencePiece vocabulary, counted from its own conversations.

Whole frequent words, what JSON repeats, and single characters, and nothing between: a word that
is not frequent is spelled, so that reversing its letters is copying tokens. The pieces are chosen
here and not by SentencePiece's trainer, which has no such rule. Knows nothing of the model.
"""

import math
import random
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from tools.bundled_data.conversations import conversation
from tools.bundled_data.grammar import Split
from tools.bundled_data.judges import THOUGHT_CLOSE, THOUGHT_OPEN
from tools.bundled_data.tables import table
from tools.bundled_data.words import COMMON, COMMON_NAMES, NAMES, WORDS

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PAD = "<|pad|>"
CONTROLS = (END_OF_TEXT, TURN_START, TURN_END, PAD)
MARKERS = (
    THOUGHT_OPEN,
    THOUGHT_CLOSE,
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
"""What the template and the model write between; a message that spells one is text."""

LETTER_WORDS = (" a", " I")
ROLES = ("system", "user", "assistant")

# Protobuf makes the module's classes at run time; its type stubs have none.
schema: Any = sentencepiece_model_pb2

# What conversations are about may be held out, and what is never a target is never answered.
_VALUES = frozenset(
    word.lower()
    for listed in (
        WORDS,
        NAMES,
        *table("memory")["values"].values(),
        *table("reading")["words"].values(),
        *table("extraction")["words"].values(),
        *table("tools")["values"].values(),
    )
    for value in listed
    for word in value.split()
)

_PRACTISED = frozenset(COMMON + COMMON_NAMES)

_WORD = re.compile(r"(?:^| )[A-Za-z']+")
_CHARACTERS = "\n" + string.digits + string.ascii_letters + string.punctuation + " "
# Any longer piece must beat the spelling of the same text: two characters cost more than it.
_CHARACTER_SCORE = -20.0
_JOINT_SCORE = -5.0


def _is_useful(piece: str) -> bool:
    """Whether a word may be a piece.

    A letter with its space would begin every spelled word, and without its space a short
    lower-case word would match inside longer words. Values are spelled, but for those that the
    tables call common and that are practised.
    """
    bare = piece.removeprefix(" ")
    if bare.lower() in _VALUES and bare not in _PRACTISED:
        return False
    if piece.startswith(" "):
        return len(piece) > 2 or piece in LETTER_WORDS
    return len(piece) > 3 or (len(piece) > 1 and piece[0].isupper())


def _texts(sample: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(sample):
        found = conversation(rng, Split.TRAIN)
        for message, thought in zip(found.messages, found.thoughts, strict=True):
            yield str(message["content"])
            yield thought or ""
            for call in message.get("tool_calls", ()):
                yield from call["function"].values()
        for tool in found.tools:
            yield tool["function"]["name"]
            yield tool["function"]["description"]
            yield from tool["function"]["parameters"]["properties"]


def word_pieces(limit: int, sample: int, seed: int) -> list[tuple[str, float]]:
    """The `limit` most frequent words of `sample` conversations, with their log frequency.

    The words that the tables call common come first.
    """
    counts: Counter[str] = Counter()
    for text in _texts(sample, seed):
        # Once a text, or a made-up word that fills a long one would pass for frequent.
        counts.update(set(_WORD.findall(text)))
    for role in ROLES:
        counts[role] = max(counts.values())
    total = sum(counts.values())
    common = {f" {word}" for word in COMMON}
    ranked = sorted(counts, key=lambda piece: (piece not in common, -counts[piece], piece))
    kept = [piece for piece in ranked if _is_useful(piece)][:limit]
    return [(piece, math.log(counts[piece] / total)) for piece in kept]


def build_tokenizer(path: Path, vocab_size: int, sample: int, seed: int) -> None:
    """Write a SentencePiece model of `vocab_size` pieces to `path`.

    Spaces stay spaces (`escape_whitespaces` off): with SentencePiece's usual U+2581 in their
    place a text that has a real U+2581 could not be told apart.
    """
    proto = schema.ModelProto()
    kind = schema.ModelProto.SentencePiece
    proto.trainer_spec.model_type = schema.TrainerSpec.UNIGRAM
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.split_digits = True
    proto.trainer_spec.vocab_size = vocab_size
    proto.trainer_spec.unk_id = 0
    for field in ("bos_id", "eos_id", "pad_id"):
        setattr(proto.trainer_spec, field, -1)
    proto.trainer_spec.control_symbols.extend(CONTROLS)
    proto.trainer_spec.user_defined_symbols.extend(MARKERS)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.normalizer_spec.escape_whitespaces = False

    proto.pieces.add(piece="<unk>", score=0.0, type=kind.UNKNOWN)
    for control in CONTROLS:
        proto.pieces.add(piece=control, score=0.0, type=kind.CONTROL)
    for marker in MARKERS:
        proto.pieces.add(piece=marker, score=0.0, type=kind.USER_DEFINED)
    for byte in range(256):
        proto.pieces.add(piece=f"<0x{byte:02X}>", score=0.0, type=kind.BYTE)
    for character in _CHARACTERS:
        proto.pieces.add(piece=character, score=_CHARACTER_SCORE, type=kind.NORMAL)
    for joint in table("vocabulary")["joints"]:
        proto.pieces.add(piece=joint, score=_JOINT_SCORE, type=kind.NORMAL)
    for piece, score in word_pieces(vocab_size - len(proto.pieces), sample, seed):
        proto.pieces.add(piece=piece, score=score, type=kind.NORMAL)
    if len(proto.pieces) != vocab_size:
        raise ValueError(
            f"{sample} conversations have words for {len(proto.pieces)} pieces, not for "
            f"{vocab_size}; take a larger sample or a smaller vocabulary"
        )
    path.write_bytes(proto.SerializeToString())
