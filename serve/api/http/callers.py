"""Whom a request counts for, where rows and queues are shared out among callers.

An API key is the surest name; what a request says of its user anybody can make up, but only among
those who need no key; an address may be that of many behind one proxy.
"""

import ipaddress
from dataclasses import dataclass

# What one customer of a network usually gets of IPv6 (RIPE-690): each has any number of addresses.
_IPV6_PREFIX = 64


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
        return f"address {_network(self.address)}" if named is None else f"user {named}"


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
