"""The order in which pages are given up."""

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.engine.retention import FAVOURED_SECONDS, Retention

A, B = (b"", "a"), (b"", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def given_up(order: Retention[int]) -> list[int]:
    return [order.give_up()[0] for _ in range(len(order))]


def test_without_groups_the_longest_unused_goes_first():
    order = Retention[int](8)
    for item in (3, 1, 2):
        order.keep(item, None)
    order.hold(1)
    order.keep(1, None)
    assert (len(order), 3 in order, sorted(order)) == (3, True, [1, 2, 3])
    assert given_up(order) == [3, 2, 1]


def test_what_belongs_to_no_group_goes_first_and_then_the_group_longest_unused():
    order = Retention[int](100)
    for item, group in ((1, A), (2, B), (3, None), (4, A), (5, None)):
        order.keep(item, group)
    order.use(B)
    assert order.give_up() == (3, None)
    assert order.give_up() == (5, None)
    assert order.give_up() == (1, A)
    assert order.give_up() == (4, A)
    assert order.give_up() == (2, B)


def test_a_use_of_the_group_is_one_of_all_that_it_has():
    order = Retention[int](100)
    for item, group in ((1, A), (2, A), (3, B)):
        order.keep(item, group)
    order.hold(1)
    order.keep(1, A)
    assert given_up(order) == [3, 2, 1]


def test_what_is_used_without_a_group_stays_in_its_own():
    order = Retention[int](100)
    order.keep(1, A)
    order.keep(2, None)
    order.hold(1)
    order.keep(1, None)
    assert order.give_up() == (2, None)
    assert order.give_up() == (1, A)


def test_groups_are_before_others_with_half_of_what_there_is_at_most():
    order = Retention[int](8)
    for item in range(5):
        order.keep(item, (b"", str(item)))
    order.keep(5, None)
    assert given_up(order) == [0, 5, 1, 2, 3, 4]


@pytest.mark.parametrize(("seconds", "first"), [(FAVOURED_SECONDS, 2), (FAVOURED_SECONDS + 1, 1)])
def test_a_group_that_nobody_uses_is_before_others_for_an_hour(seconds, first):
    clock = Clock()
    order = Retention[int](8, clock)
    order.keep(1, A)
    clock.now = seconds
    order.keep(2, None)
    assert order.give_up()[0] == first


class Plain:
    """The same, with all that is known of each thing in one place."""

    def __init__(self, capacity: int) -> None:
        self.most, self.group = capacity // 2, {}
        self.kept: OrderedDict[int, None] = OrderedDict()
        self.uses: list = []

    def keep(self, item, group) -> None:
        self.kept.pop(item, None)
        self.kept[item] = None
        if group:
            self.group[item] = group
            self.uses.append(group)

    def give_up(self) -> int:
        grouped = [item for item in self.kept if item in self.group]
        others = [item for item in self.kept if item not in self.group]
        if grouped and (not others or len(grouped) > self.most):
            last = {group: place for place, group in enumerate(self.uses)}
            item = min(grouped, key=lambda each: last[self.group[each]])
        else:
            item = others[0]
        del self.kept[item]
        self.group.pop(item, None)
        return item


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["keep", "keep", "hold", "use", "give up", "forget"]),
            st.integers(0, 7),
            st.sampled_from([None, A, B, (b"1", "a")]),
        ),
        max_size=60,
    )
)
def test_it_does_what_a_plain_one_does(happenings):
    order, plain = Retention[int](8, lambda: 0.0), Plain(8)
    for what, item, group in happenings:
        if what == "keep":
            order.keep(item, group)
            plain.keep(item, group)
        elif what == "hold":
            order.hold(item)
            plain.kept.pop(item, None)
        elif what == "forget":
            order.forget(item)
            plain.kept.pop(item, None)
            plain.group.pop(item, None)
        elif what == "use" and group in order._groups:
            order.use(group)
            plain.uses.append(group)
        elif what == "give up" and len(order):
            assert order.give_up()[0] == plain.give_up()
        assert sorted(order) == sorted(plain.kept)
