"""Vocabularies out of GGUF files cut texts as the hub's files of the same vocabularies do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from support import published_text as published
from support.gguf_files import byte_level_vocabulary, sentence_piece_vocabulary, write_gguf

from model.config import CheckpointError
from model.sources.gguf.tokenizer import tokenizer_files
from model.tokenizer.hugging_face import HuggingFaceTokenizer
from model.weights.gguf_file import read_gguf

# The hub's directory → what llama.cpp's converter calls its way to cut texts.
BYTE_LEVEL = {
    "gpt_oss": "gpt-4o",
    "llama3": "llama-bpe",
    "mistral_tekken": "tekken",
    "olmo2": "dbrx",
    "phi4_mini": "gpt-4o",
    "qwen2_5": "qwen2",
    "qwen3": "qwen2",
}
SENTENCE_PIECE = ("gemma2", "gemma3", "llama2", "phi3")
TEXTS = (
    "Hello world, it's 1234567 o'clock: I'LL call YOU'RE naïve café.",
    "  two before, two  between, three after   ",
    "\n\nlines\r\n\tand tabs\t\t \n  x\n\n\n",
    "def f(x: int) -> str:\n    return f'{x ** 2:>10}' if x != 0 else \"\" # §\n",
    "漢字かな交じり文。한국어 텍스트 ไทย हिन्दी العربية",
    "🙂 👩‍👩‍👧 🇨🇭 ½ ² Ⅻ ①",
    "e\u0301 A\u030a \u1112\u1161\u11ab",
    "<s> </s> <unk> <0x0A> <|im_start|> <b>bold</b>",
    "a" * 70 + " " + "ab" * 40,
    " ",
    "",
)


def files_of(path: Path, vocabulary: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {"general.architecture": "llama"} | vocabulary | more
    return tokenizer_files(read_gguf(write_gguf(path, metadata, {"x": np.zeros(1, np.float32)})))


def made(directory: Path, vocabulary: dict[str, Any], **more: Any) -> HuggingFaceTokenizer:
    for name, content in files_of(directory / "model.gguf", vocabulary, **more).items():
        (directory / name).write_text(json.dumps(content))
    return HuggingFaceTokenizer(directory / "tokenizer.json")


def of_hub(name: str) -> dict[str, Any]:
    directory = published.DIRECTORY / name
    if name in BYTE_LEVEL:
        return byte_level_vocabulary(directory / "tokenizer.json", BYTE_LEVEL[name])
    return sentence_piece_vocabulary(directory / "tokenizer.model")


@pytest.fixture(scope="module")
def from_gguf(tmp_path_factory):
    names = (*BYTE_LEVEL, *SENTENCE_PIECE)
    return {name: made(tmp_path_factory.mktemp(name), of_hub(name)) for name in names}


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("name", [*BYTE_LEVEL, *SENTENCE_PIECE])
def test_ids_are_those_of_the_hubs_tokenizer(from_gguf, name, text):
    hub = published.tokenizer(name)
    for at_start in (True, False):
        found = from_gguf[name].encode(text, at_start=at_start)
        assert found == hub.encode(text, at_start=at_start)


@pytest.mark.parametrize("name", [*BYTE_LEVEL, *SENTENCE_PIECE])
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=60))
def test_ids_of_any_text_are_those_of_the_hubs_tokenizer(from_gguf, name, text):
    assert from_gguf[name].encode(text) == published.tokenizer(name).encode(text)


@pytest.mark.parametrize("name", ["mistral_v1", "mixtral"])
def test_ids_are_those_of_the_sentence_piece_model(tmp_path, name):
    path = published.DIRECTORY / name / "tokenizer.model"
    wanted = sentencepiece.SentencePieceProcessor(model_file=str(path))
    found = made(tmp_path, of_hub(name))
    assert [found.encode(text) for text in TEXTS] == [wanted.EncodeAsIds(text) for text in TEXTS]


@pytest.mark.parametrize("name", [*BYTE_LEVEL, *SENTENCE_PIECE])
def test_tokens_stand_for_the_same_bytes(from_gguf, name):
    hub, found = published.tokenizer(name), from_gguf[name]
    assert found.vocab_size == hub.vocab_size
    for token in range(hub.vocab_size):
        # The hub's Phi-3 has text for its end, which no SentencePiece model has.
        if (name, token) != ("phi3", 2):
            assert found.token_bytes(token) == hub.token_bytes(token)
    assert found.controls == hub.controls


def test_begins_and_ends(tmp_path):
    files = files_of(tmp_path / "model.gguf", of_hub("llama2"))
    assert files["tokenizer_config.json"] == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    assert files["generation_config.json"] == {"eos_token_id": [2]}
    (tmp_path / "other").mkdir()
    assert made(tmp_path, of_hub("llama2")).opening == (1,)
    silent = {"tokenizer.ggml.add_bos_token": False}
    assert made(tmp_path / "other", of_hub("llama2"), **silent).opening == ()


def test_what_begins_a_text_follows_from_the_way_to_cut_it(from_gguf):
    # Where the file says nothing, and names no first token, there is none.
    assert from_gguf["llama3"].opening == ()


def test_a_file_that_names_its_first_token(tmp_path):
    vocabulary = of_hub("llama3")
    first = vocabulary["tokenizer.ggml.tokens"].index("<|begin_of_text|>")
    named = {"tokenizer.ggml.bos_token_id": first}
    assert made(tmp_path, vocabulary, **named).opening == (first,)
    assert made(tmp_path, of_hub("olmo2"), **named).opening == ()


TOKENS = [*"abc", "ab", "abc", "bc"]


def tiny(*marks: tuple[str, int], **more: Any) -> dict[str, Any]:
    """A byte-level vocabulary with tokens of these types after six plain ones."""
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*TOKENS, *(spelling for spelling, _ in marks)],
        "tokenizer.ggml.token_type": [1] * 6 + [kind for _, kind in marks],
        "tokenizer.ggml.merges": ["b c", "a b", "a bc"],
        "tokenizer.ggml.eos_token_id": 6,
    } | {f"tokenizer.ggml.{key}": value for key, value in more.items()}


def ends(path: Path, *marks: tuple[str, int], **more: Any) -> list[int]:
    files = files_of(path, tiny(("<end>", 3), *marks, **more))
    return files["generation_config.json"]["eos_token_id"]


def test_what_ends_a_turn(tmp_path):
    path = tmp_path / "model.gguf"
    assert ends(path) == [6]
    assert ends(path, ("<one>", 3), ("<two>", 3), eot_token_id=8, eom_token_id=7) == [6, 8, 7]
    # Those that are known by their spelling, but for words of the vocabulary.
    assert ends(path, ("<|im_end|>", 3), ("<|endoftext|>", 4), ("</s>", 1)) == [6, 7, 8]
    harmony = (("<|return|>", 3), ("<|call|>", 3), ("<|end|>", 3))
    assert ends(path, *harmony) == [6, 7, 8]
    assert ends(path, ("<|end|>", 3)) == [6, 7]
    # An id past the vocabulary names nothing.
    assert ends(path, ("<|im_end|>", 3), eos_token_id=99) == [7]


def test_a_file_that_names_no_end(tmp_path):
    with pytest.raises(CheckpointError, match="names no token that ends a turn"):
        files_of(tmp_path / "model.gguf", tiny(("<end>", 3), eos_token_id=99))


def test_the_first_merge_wins_unless_whole_words_do(tmp_path):
    by_merges = made(tmp_path, tiny(("<end>", 3)))
    # "bc" before "ab".
    assert by_merges.encode("abc") == [4]
    vocabulary = tiny(("<end>", 3), merges=["b c", "a b"])
    assert made(tmp_path, vocabulary).encode("abc") == [0, 5]
    assert made(tmp_path, vocabulary | {"tokenizer.ggml.pre": "llama-bpe"}).encode("abc") == [4]


def test_scores_say_which_pieces_are_joined_first(tmp_path):
    pieces = ["<unk>", "<s>", "</s>", *"abc", "ab", "bc", "\u2581"]

    def ids(better: str) -> list[int]:
        scores = [10.0 if piece == better else -1.0 for piece in pieces]
        vocabulary = {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": pieces,
            "tokenizer.ggml.token_type": [2, 3, 3, *[1] * 6],
            "tokenizer.ggml.scores": scores,
        }
        return made(tmp_path, vocabulary).encode("abc")

    assert ids("ab") == [8, 6, 5]
    assert ids("bc") == [8, 3, 7]


def test_marks_are_never_cut_out_of_a_text(tmp_path):
    vocabulary = of_hub("llama2")
    tokens, types = vocabulary["tokenizer.ggml.tokens"], vocabulary["tokenizer.ggml.token_type"]
    scores = vocabulary["tokenizer.ggml.scores"]
    # Pieces that would make up control tokens, if merges knew of them.
    more = ["<t", "k>", "<tk>", "s>"]
    vocabulary |= {
        "tokenizer.ggml.tokens": [*tokens, *more],
        "tokenizer.ggml.token_type": [*types, 1, 1, 4, 1],
        "tokenizer.ggml.scores": [*scores, 5.0, 5.0, 9.0, 9.0],
    }
    tokenizer = made(tmp_path, vocabulary)
    assert {"<tk>", "<s>"} <= set(tokenizer.controls)
    for text in ("<tk>", "<s>"):
        assert tokenizer.controls[text] not in tokenizer.encode(text)


def test_white_space_of_the_vocabulary_is_whole(tmp_path):
    tokenizer = made(tmp_path, tiny(("<end>", 3), ("    ", 4), ("  ", 4)))
    assert tokenizer.encode("a      b") == [0, 7, 8, 1]


def test_reserved_tokens_at_the_end_are_no_tokens(tmp_path):
    tokenizer = made(tmp_path, tiny(("<end>", 3), ("[PAD7]", 5), ("<mark>", 4), ("[PAD9]", 5)))
    assert tokenizer.vocab_size == 9
    assert tokenizer.token_bytes(7) is None


def test_phi3s_control_tokens_swallow_white_space(tmp_path):
    tokenizer = made(tmp_path, of_hub("phi3"), **{"general.name": "Phi-3 Mini"})
    strips = {spelling: tokenizer.strips[token] for spelling, token in tokenizer.controls.items()}
    assert strips["<s>"] == strips["<unk>"] == (False, False)
    assert strips["</s>"] == (False, True)
    assert made(tmp_path, of_hub("phi3")).strips[2] == (False, False)


def test_templates_and_recommended_sampling(tmp_path):
    path, words = tmp_path / "model.gguf", tiny(("<end>", 3))
    assert "chat_template" not in files_of(path, words)["tokenizer_config.json"]
    one = {"tokenizer.chat_template": "{{ messages }}"}
    assert (
        files_of(path, words, **one)["tokenizer_config.json"]["chat_template"] == "{{ messages }}"
    )
    two = one | {"tokenizer.chat_template.tool_use": "{{ tools }}"}
    assert files_of(path, words, **two)["tokenizer_config.json"]["chat_template"] == [
        {"name": "default", "template": "{{ messages }}"},
        {"name": "tool_use", "template": "{{ tools }}"},
    ]
    sampling = {"general.sampling.temp": 0.5, "general.sampling.top_k": 20}
    assert files_of(path, words, **sampling)["generation_config.json"] == {
        "eos_token_id": [6],
        "temperature": 0.5,
        "top_k": 20,
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model": None}, "has no tokenizer"),
        ({"tokens": None}, "has no tokenizer"),
        ({"tokens": [1, 2]}, "has no tokenizer"),
        ({"model": ["gpt2"]}, r"tokenizer of the kind \['gpt2'\]"),
        ({"merges": [1, 2]}, r"has no tokenizer\.ggml\.merges"),
        ({"token_type": ["one"] * 7}, "token_type with a number for each of 7"),
        ({"model": "gemma4"}, "tokenizer of the kind 'gemma4'"),
        ({"model": "t5"}, "tokenizer of the kind 't5'"),
        ({"pre": "default"}, "in the way 'default'"),
        ({"pre": None}, "in the way None"),
        ({"merges": None}, "has no tokenizer.ggml.merges"),
        ({"merges": ["a d"]}, "has the merge 'a d'"),
        ({"merges": ["ab"]}, "has the merge 'ab'"),
        ({"token_type": [1, 1]}, "token_type with a number for each of 7"),
        ({"tokens": [*TOKENS, "ab"]}, "has the token 'ab' 2 times"),
        ({"model": "llama"}, "scores with a number for each of 7"),
    ],
    ids=range(16),
)
def test_a_broken_vocabulary_is_refused_in_a_sentence(tmp_path, more, words):
    vocabulary = tiny(("<end>", 3), **more)
    kept = {key: value for key, value in vocabulary.items() if value is not None}
    with pytest.raises(CheckpointError, match=words) as raised:
        files_of(tmp_path / "model.gguf", kept)
    assert str(tmp_path / "model.gguf") in str(raised.value)
