"""The SentencePiece tokenizer: exact bytes of every id, lossless text, no control from text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import bundled
from model.tokenizer.sentence_piece import SentencePieceTokenizer

TOKENIZER = SentencePieceTokenizer(bundled.directory() / "tokenizer.model")


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_bytes_of_the_ids_are_the_texts(text):
    pieces = [TOKENIZER.token_bytes(token) for token in TOKENIZER.encode(text)]
    assert None not in pieces
    assert b"".join(pieces) == text.encode()


@pytest.mark.parametrize("text", ["", "  ", "\n\n", " a  b ", "日本語 🦊 é", "▁", "\x00\x7f"])
def test_odd_texts_are_lossless(text):
    assert b"".join(map(TOKENIZER.token_bytes, TOKENIZER.encode(text))) == text.encode()


def test_control_tokens_have_no_bytes_and_never_come_from_text():
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} <= set(TOKENIZER.controls)
    for spelling, token in TOKENIZER.controls.items():
        assert TOKENIZER.token_bytes(token) is None
        assert TOKENIZER.token_text(token) == spelling
        assert token not in TOKENIZER.encode(f"a {spelling} b")


def test_every_byte_has_a_token():
    singles = [TOKENIZER.token_bytes(token) for token in range(TOKENIZER.vocab_size)]
    assert {bytes([value]) for value in range(256)} <= set(singles)


def test_a_part_of_a_character_shows_as_a_replacement_character():
    token = next(t for t in range(TOKENIZER.vocab_size) if TOKENIZER.token_bytes(t) == b"\xe6")
    assert TOKENIZER.token_text(token) == "\ufffd"


def test_ids_past_the_vocabulary_are_nothing():
    assert TOKENIZER.token_bytes(TOKENIZER.vocab_size) is None
    assert TOKENIZER.token_text(TOKENIZER.vocab_size + 7) == ""


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match="lone surrogate at character 2"):
        TOKENIZER.encode("ab\ud800")
