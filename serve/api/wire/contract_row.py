"""One row of the contract: what the server does with one field of a request."""

from dataclasses import dataclass
from typing import Literal

State = Literal["honoured", "extension"]


@dataclass(frozen=True, slots=True)
class Row:
    """One field.

    Attributes:
        field: its name.
        state: `honoured`; `extension`: honoured, but the API's original does not have it.
        allowed: the values that are accepted.
        summary: what the field does.
        test: the test that shows its effect, `file::function`, below `tests`.
        default: what holds where it is not sent.
        step: of a sampling control, when it is applied: the one with 1 first, equal ones
            together. 0 for other fields. The default of a control is neutral: with it the
            control changes nothing.
    """

    field: str
    state: State
    allowed: str
    summary: str
    test: str
    default: str = ""
    step: int = 0

    @property
    def accepted(self) -> str:
        """The values that are accepted, and the one that holds where none is sent."""
        return f"{self.allowed}; default: {self.default}" if self.default else self.allowed
