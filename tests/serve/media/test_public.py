"""Only addresses that anybody on the internet can reach are public."""

import pytest

from serve.media.public import is_public

PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:1.1.1.1"]
OTHERS = [
    # This machine, this network, nowhere.
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "::1", "::"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1"),
    # Many at once, tests, documents, what is kept for later.
    *("224.0.0.1", "239.255.255.250", "255.255.255.255", "ff02::1", "240.0.0.1"),
    *("192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "192.0.0.1", "2001:db8::1"),
    # An address of IPv4 in one of IPv6: mapped, compatible, translated, 6to4, Teredo.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001::1"),
    *("", "localhost", "1.1.1", "0x7f.1", "1.1.1.1%eth0", "2606:4700::1111%eth0"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", OTHERS)
def test_not_public(address: str) -> None:
    assert not is_public(address)
