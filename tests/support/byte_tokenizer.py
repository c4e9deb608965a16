"""A tokenizer of 256 bytes, for tests of grammars."""


class Bytes:
    """Ids 0 to 255 are bytes; 256 ends an answer."""

    vocab_size = 257
    controls = {"<|end|>": 256}  # noqa: RUF012

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes | None:
        return bytes([token]) if token < 256 else None

    def token_text(self, token: int) -> str:
        return chr(token)
