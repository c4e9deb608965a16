"""What a response and every chunk of it say alike."""

import secrets
import string
from dataclasses import dataclass
from typing import Any

_BASE62 = string.digits + string.ascii_letters


def new_completion_id() -> str:
    """`chatcmpl-` and 128 random bits in base 62."""
    number, digits = secrets.randbits(128), ""
    for _ in range(22):
        number, digit = divmod(number, 62)
        digits += _BASE62[digit]
    return f"chatcmpl-{digits}"


@dataclass(frozen=True, slots=True)
class Head:
    """The members that are the same throughout a completion.

    Attributes:
        id: of the completion.
        created: seconds since 1970.
        model: the served model's own name.
        fingerprint: of all that can change the numbers.
        service_tier: the one that was used; None leaves it out.
    """

    id: str
    created: int
    model: str
    fingerprint: str
    service_tier: str | None

    def fields(self, kind: str) -> dict[str, Any]:
        """The members of an object of that kind, but for its choices."""
        fields: dict[str, Any] = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }
        return fields if self.service_tier is None else fields | {"service_tier": self.service_tier}
