"""Which addresses are of the public internet: the only ones that strangers may have fetched."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# All that is handed out of IPv6 (RFC 4291): with it goes what has an address of IPv4 inside, which
# a gateway would pass on to it, but for 6to4.
_UNICAST = IPv6Network("2000::/3")
_SIX_TO_FOUR = IPv6Network("2002::/16")


def is_public(address: str) -> bool:
    """Whether a numeric address is one that anybody on the internet can reach."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            unicast = found in _UNICAST and found not in _SIX_TO_FOUR
            return unicast and found.is_global and found.scope_id is None
        found = found.ipv4_mapped
    return _is_public_v4(found)


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved
