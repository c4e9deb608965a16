"""Something bounded that many hold parts of, so that there is always some of it for others.

Nobody may hold more than what is left then: one takes half of it at most, a second one half of the
rest, and so on (the dynamic thresholds of switches; Choudhury and Hahne, IEEE/ACM Transactions on
Networking 6(2), 1998). Knows nothing of what it is.
"""

import ipaddress
from collections import Counter

# What one customer of a network usually gets of IPv6 (RIPE-690): each has any number of addresses.
_IPV6_PREFIX = 64


class Shares:
    """Who holds how much.

    Args:
        total: that there is.
    """

    def __init__(self, total: int) -> None:
        self.left = total
        self._held: Counter[str] = Counter()

    def fits(self, holder: str, amount: int) -> bool:
        """Whether a holder may have so much more. What is left is for all who hold nothing."""
        # A Counter makes no entry for what it is asked for.
        return self._held[holder] + amount <= self.left

    def take(self, holder: str, amount: int) -> None:
        """A holder has so much more."""
        self._change(holder, amount)

    def give(self, holder: str, amount: int) -> None:
        """A holder has so much less."""
        self._change(holder, -amount)

    def _change(self, holder: str, amount: int) -> None:
        self.left -= amount
        self._held[holder] += amount
        if not self._held[holder]:
            del self._held[holder]


def network_of(address: str) -> str:
    """Whose an address is: of IPv6, the network of its first 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
