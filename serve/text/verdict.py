"""What may end an answer for what it says. Knows nothing of what it is judged by."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an answer does not go on.

    Attributes:
        category: of what it would have said.
        blocks: nothing at all of it is to be told, where nothing has been.
    """

    category: str
    blocks: bool


class Judge(Protocol):
    """A link of the chain that text passes up to what may not be said."""

    @property
    def verdict(self) -> Verdict | None:
        """Set once something has ended the text; what comes after is dropped."""
        ...

    @property
    def holds(self) -> bool:
        """Whether text is held back."""
        ...

    def feed(self, text: str) -> str:
        """The text that is now known to be passed on."""
        ...

    def pause(self) -> str:
        """Something else follows: what may not be said if the text ends here ends it.

        What is held back for other reasons stays so; there may be more text.
        """
        ...

    def flush(self) -> str:
        """The end of the text: what was held back, as far as it may be said."""
        ...
