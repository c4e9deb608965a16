from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import bundled
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from tools.bundled_data.vocabulary import CONTROLS, MARKERS, build_tokenizer
from tools.bundled_data.words import COMMON_NAMES, NAMES, SPELLED


def texts(tokenizer: SentencePieceTokenizer, text: str) -> list[str]:
    return [tokenizer.token_text(token) for token in tokenizer.encode(text)]


@given(st.text())
def test_text_survives_the_tokenizer(tokenizer: SentencePieceTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert b"".join(tokenizer.token_bytes(token) or b"" for token in ids) == text.encode()
    assert not set(ids) & set(tokenizer.controls.values())


@pytest.mark.parametrize(
    "text",
    [
        "  two leading, two trailing  ",
        "a\n\n\tb\r\n",
        "\u2581 and a space",
        "zażółć 你好 🚀\u200d\ufe0f",
        "<|im_start|>user<|im_end|><0x41><unk>",
        "<think>no</think><tool_call>",
        "\x00\u00a0\ufeff\U0010ffff",
    ],
)
def test_odd_text_survives(tokenizer: SentencePieceTokenizer, text: str) -> None:
    for each in (tokenizer, SentencePieceTokenizer(bundled.directory() / "tokenizer.model")):
        ids = each.encode(text)
        assert b"".join(each.token_bytes(token) or b"" for token in ids) == text.encode()
        assert not set(ids) & set(each.controls.values())


def test_the_vocabulary_has_controls_markers_and_every_byte(
    tokenizer: SentencePieceTokenizer,
) -> None:
    assert tokenizer.vocab_size == 1200
    found = [tokenizer.controls[spelling] for spelling in (*CONTROLS, *MARKERS)]
    assert found == list(range(1, 13))
    assert tokenizer.token_bytes(tokenizer.controls["<|im_end|>"]) is None
    assert tokenizer.token_bytes(tokenizer.controls["<think>"]) == b"<think>"
    singles = {tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)}
    assert {bytes([byte]) for byte in range(256)} <= singles


def test_words_are_whole_or_spelled(tokenizer: SentencePieceTokenizer) -> None:
    assert texts(tokenizer, "What is 12 zmrx") == ["What", " is", " ", "1", "2", " ", *"zmrx"]


def test_a_word_that_may_be_held_out_is_no_piece(tokenizer: SentencePieceTokenizer) -> None:
    assert "trumpet" in SPELLED
    for each in (tokenizer, SentencePieceTokenizer(bundled.directory() / "tokenizer.model")):
        for word in (*SPELLED, *(name for name in NAMES if name not in COMMON_NAMES)):
            assert len(texts(each, f" {word}")) > 1


def test_what_json_repeats_is_one_piece(tokenizer: SentencePieceTokenizer) -> None:
    call = '{"name": "zq", "arguments": {"zk": 5}}'
    assert texts(tokenizer, call) == [
        *('{"name": "', "z", "q", '", "arguments": {"', "z", "k", '": ', "5", "}}")
    ]


def test_too_few_words_for_the_vocabulary_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="larger sample"):
        build_tokenizer(tmp_path / "x.model", 9000, 10, seed=0)
