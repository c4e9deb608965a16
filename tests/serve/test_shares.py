"""There is always some left for those who have nothing."""

import pytest

from serve.shares import Shares, network_of


def filled(total: int, *holders: str) -> list[int]:
    """How much each gets, one after the other, who takes whatever there is for it."""
    shares, taken = Shares(total), []
    for holder in holders:
        held = 0
        while shares.fits(holder, 1):
            shares.take(holder, 1)
            held += 1
        taken.append(held)
    return taken


def test_one_gets_half_and_the_next_one_half_of_the_rest() -> None:
    assert filled(64, "a", "b", "c", "d") == [32, 16, 8, 4]
    assert filled(1, "a", "b") == [1, 0]


def test_what_is_given_back_is_there_again() -> None:
    shares = Shares(8)
    for _ in range(4):
        shares.take("a", 1)
    assert not shares.fits("a", 1)
    shares.take("b", 2)
    assert shares.left == 2
    shares.give("a", 4)
    shares.give("b", 2)
    assert shares.left == 8
    assert shares.fits("a", 8)
    assert not shares.fits("a", 9)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("<local>", "<local>"),
    ],
)
def test_an_address_counts_for_its_network(address: str, network: str) -> None:
    assert network_of(address) == network
