"""What every tokenizer does: text to ids, ids to exact bytes.

Knows nothing of files, chat templates or streams.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


class TokenizerError(ValueError):
    """A tokenizer that cannot be used; the message says which file and what to do."""


@runtime_checkable
class Tokenizer(Protocol):
    """Ids and exact bytes. Plain text never becomes a control token here.

    Attributes:
        vocab_size: number of ids, `0 .. vocab_size - 1`.
        controls: spelling → id of every token that only a chat template may write.
        strips: control id → whether it swallows the white space before it, and after it. Ids
            that do neither may be absent.
        named: `bos_token`, `eos_token`, … → spelling, as chat templates know them.
        opening: ids that the model wants before a text that is no conversation.
    """

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        ...

    @property
    def controls(self) -> Mapping[str, int]:
        """Spelling → id of the control tokens."""
        ...

    @property
    def strips(self) -> Mapping[int, tuple[bool, bool]]:
        """Control id → whether it swallows white space before it, and after it."""
        ...

    @property
    def named(self) -> Mapping[str, str]:
        """`bos_token`, `eos_token`, … → spelling."""
        ...

    @property
    def opening(self) -> tuple[int, ...]:
        """Ids that the model wants before a text that is no conversation."""
        ...

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """Ids of plain text. Spellings of control tokens in it are text like any other.

        No token is added for the beginning or the end of a text: templates write those, and
        `opening` goes before a text without a template.

        Args:
            text: any text without lone surrogates.
            at_start: whether the text opens the prompt. Some tokenizers put a space before
                the words there, and not after a control token.

        Raises:
            ValueError: the text has a lone surrogate.
        """
        ...

    def token_bytes(self, token: int) -> bytes | None:
        """The exact bytes that `token` stands for; None for a control token without text.

        Ids past the vocabulary, which a padded embedding has, stand for nothing either.
        """
        ...

    def token_text(self, token: int) -> str:
        """The token for display: its text with U+FFFD for partial characters, or its spelling."""
        ...


def check_unicode(text: str) -> None:
    """Refuse text that has no UTF-8.

    Raises:
        ValueError: it has a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has a lone surrogate at character {error.start}; send valid Unicode"
        ) from error
