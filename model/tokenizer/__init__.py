"""Tokenizers behind one protocol: SentencePiece and Hugging Face files, ids to exact bytes."""

from model.tokenizer.protocol import Tokenizer, TokenizerError

__all__ = ["Tokenizer", "TokenizerError"]
