"""What a tokenizer knows of each id, as tables. Knows nothing of how text is cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tables:
    """The ids of a vocabulary.

    Attributes:
        exact: bytes of each id; None where it stands for none.
        spellings: of each id.
        controls: spelling → id of the tokens that only a template may write.
        strips: control id → whether it swallows white space before it, and after it.
        named: `bos_token`, … → spelling.
        opening: ids before a text that is no conversation.
    """

    exact: Sequence[bytes | None]
    spellings: Sequence[str]
    controls: Mapping[str, int]
    strips: Mapping[int, tuple[bool, bool]]
    named: Mapping[str, str]
    opening: tuple[int, ...]


class TableTokenizer:
    """All of a `Tokenizer` but `encode`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self._tables.exact)

    @property
    def controls(self) -> Mapping[str, int]:
        """Spelling → id of the control tokens."""
        return self._tables.controls

    @property
    def strips(self) -> Mapping[int, tuple[bool, bool]]:
        """Control id → whether it swallows white space before it, and after it."""
        return self._tables.strips

    @property
    def named(self) -> Mapping[str, str]:
        """`bos_token`, `eos_token`, … → spelling."""
        return self._tables.named

    @property
    def opening(self) -> tuple[int, ...]:
        """Ids that the model wants before a text that is no conversation."""
        return self._tables.opening

    def token_bytes(self, token: int) -> bytes | None:
        """Exact bytes of `token`; see `Tokenizer.token_bytes`."""
        return self._tables.exact[token] if token < self.vocab_size else None

    def token_text(self, token: int) -> str:
        """`token` for display; see `Tokenizer.token_text`."""
        if token >= self.vocab_size:
            return ""
        exact = self._tables.exact[token]
        return self._tables.spellings[token] if exact is None else exact.decode(errors="replace")
