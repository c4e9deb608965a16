"""Whom a request counts for, where rows and queues are shared out among callers.

An API key is the surest name; what a request says of its user anybody can make up, but only among
those who need no key; an address may be that of many behind one proxy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from serve.shares import network_of


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has sent a request, as far as its head and its connection tell.

    Attributes:
        key: a digest of its API key, if it has one.
        address: of its connection's other end; empty where it has none.
    """

    key: str | None
    address: str

    def counted(self, named: str | None = None) -> str:
        """The name under which the request is counted.

        Args:
            named: its `safety_identifier` or `user`.
        """
        if self.key is not None:
            return f"key {self.key}"
        return f"address {network_of(self.address)}" if named is None else f"user {named}"


def address_of(scope: Mapping[str, Any] | object) -> str:
    """The address of the other end of an ASGI scope's connection; empty where it has none."""
    client = cast("Mapping[str, Any]", scope).get("client")
    return client[0] if client else ""
