"""What a response and every chunk of it say alike."""

from dataclasses import dataclass
from typing import Any


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
