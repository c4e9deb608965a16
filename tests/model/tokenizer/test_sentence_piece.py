"""The SentencePiece tokenizer: exact bytes of every id, lossless text, no control from text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from model import bundled
from model.tokenizer import TokenizerError
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


def test_control_tokens_never_come_from_text():
    """Those that stand in no answer have no bytes either; others (`<think>`) may."""
    for spelling in ("<|im_start|>", "<|im_end|>", "<|endoftext|>"):
        assert TOKENIZER.token_bytes(TOKENIZER.controls[spelling]) is None
    for spelling, token in TOKENIZER.controls.items():
        assert TOKENIZER.token_bytes(token) in (None, spelling.encode())
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


def test_a_space_and_its_stand_in_are_told_apart_where_the_model_tells_them():
    """The bundled model keeps spaces as they are: a real U+2581 is three bytes."""
    text = "a\u2581b \u2581"
    assert b"".join(map(TOKENIZER.token_bytes, TOKENIZER.encode(text))) == text.encode()
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((bundled.directory() / "tokenizer.model").read_bytes())
    assert not model.normalizer_spec.escape_whitespaces


def test_a_piece_with_a_literal_stand_in(tmp_path):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((bundled.directory() / "tokenizer.model").read_bytes())
    model.pieces.add(piece="x\u2581y", score=-1.0)
    last = len(model.pieces) - 1
    for escaped, exact in ((False, "x\u2581y"), (True, "x y")):
        model.normalizer_spec.escape_whitespaces = escaped
        (tmp_path / "tokenizer.model").write_bytes(model.SerializeToString())
        tokenizer = SentencePieceTokenizer(tmp_path / "tokenizer.model")
        assert tokenizer.token_bytes(last) == exact.encode()


def test_user_defined_markup_is_kept_out_of_text(tmp_path):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((bundled.directory() / "tokenizer.model").read_bytes())
    kind = sentencepiece_model_pb2.ModelProto.SentencePiece
    for piece in ("<start_of_turn>", "<h1>"):
        model.pieces.add(piece=piece, score=0.0, type=kind.USER_DEFINED)
    last = len(model.pieces) - 1
    (tmp_path / "tokenizer.model").write_bytes(model.SerializeToString())
    tokenizer = SentencePieceTokenizer(tmp_path / "tokenizer.model")
    assert tokenizer.controls["<start_of_turn>"] == last - 1
    assert last - 1 not in tokenizer.encode("a<start_of_turn>b")
    assert last in tokenizer.encode("a<h1>b")


@pytest.mark.parametrize("cut", [0, 1, 1000, -1])
def test_a_truncated_model(tmp_path, cut):
    whole = (bundled.directory() / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(whole[:cut])
    with pytest.raises(TokenizerError, match="not a readable SentencePiece model"):
        SentencePieceTokenizer(tmp_path / "tokenizer.model")
