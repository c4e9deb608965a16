"""Bytes to whole characters, incrementally.

Knows nothing of tokens: it is fed the exact bytes that a tokenizer gives for them.
"""

import codecs

_DECODER = codecs.getincrementaldecoder("utf-8")


class CharacterDecoder:
    """UTF-8 decoding that never gives half a character.

    Bytes that may become a character wait for the rest; bytes that cannot become one, and what
    still waits at the end, become U+FFFD (Unicode 16, table 3-8: one for each maximal subpart).
    """

    def __init__(self) -> None:
        self._decoder = _DECODER(errors="replace")

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished character wait."""
        return bool(self._decoder.getstate()[0])

    def feed(self, data: bytes) -> str:
        """The characters that `data` completes."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """The end of the bytes: U+FFFD for an unfinished character."""
        return self._decoder.decode(b"", final=True)
