"""In which order things that may be wanted again are given up: pages, wherever they are kept.

What belongs to a group is kept by the group's last use, before all that belongs to none; but only
so much of it, and for so long. Knows nothing of what the things are.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)
# Whose it is, and its name there.
Group = tuple[bytes, str]

# What groups may keep of all there is before what belongs to none.
FAVOURED_SHARE = 0.5
# A group that nobody has used for so long is no longer before others.
FAVOURED_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class _Members(Generic[Item]):
    """Of one group.

    Attributes:
        used: when the group was used last.
        count: how many things belong to it, given up if need be or not.
        kept: those that may be given up, in order.
    """

    used: float
    count: int = 0
    kept: OrderedDict[Item, None] = field(default_factory=OrderedDict[Item, None])


class Retention(Generic[Item]):
    """Things that may be given up, and the groups that they belong to.

    Args:
        capacity: how many there may be in all, kept or not.
        clock: seconds.
    """

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_favoured = int(capacity * FAVOURED_SHARE)
        self._clock = clock
        # The longest unused first, here and among groups.
        self._others: OrderedDict[Item, None] = OrderedDict()
        self._groups: OrderedDict[Group, _Members[Item]] = OrderedDict()
        self._of: dict[Item, Group] = {}
        self._favoured = 0

    def __len__(self) -> int:
        """How many may be given up."""
        return len(self._others) + self._favoured

    def __contains__(self, item: Item) -> bool:
        return item in self._line(item)

    def __iter__(self):
        """All that may be given up, in no order."""
        yield from self._others
        for members in self._groups.values():
            yield from members.kept

    def use(self, group: Group | None) -> None:
        """Somebody uses the group."""
        if group is not None and (members := self._groups.get(group)) is not None:
            members.used = self._clock()
            self._groups.move_to_end(group)

    def keep(self, item: Item, group: Group | None) -> None:
        """From now on a thing may be given up, after all that could be before.

        Args:
            item: the thing.
            group: that it belongs to from now on; None for the one that it belonged to, if any.
        """
        self.hold(item)
        if group is not None and self._of.get(item) != group:
            self.forget(item)
            self._of[item] = group
            self._groups.setdefault(group, _Members(0.0)).count += 1
        self.use(group)
        self._line(item)[item] = None
        self._favoured += item in self._of

    def hold(self, item: Item) -> None:
        """A thing may not be given up, for now."""
        line = self._line(item)
        if item in line:
            del line[item]
            self._favoured -= item in self._of

    def forget(self, item: Item) -> None:
        """A thing is not there any more, or is another one."""
        self.hold(item)
        group = self._of.pop(item, None)
        if group is not None:
            self._groups[group].count -= 1
            if not self._groups[group].count:
                del self._groups[group]

    def give_up(self) -> tuple[Item, Group | None]:
        """Forget the thing that is to go first; there must be one.

        Returns:
            It, and the group that it belonged to.
        """
        oldest = next((each for each in self._groups.values() if each.kept), None)
        if oldest is not None and (
            not self._others
            or self._favoured > self._most_favoured
            or self._clock() - oldest.used > FAVOURED_SECONDS
        ):
            item = next(iter(oldest.kept))
        else:
            item = next(iter(self._others))
        group = self._of.get(item)
        self.forget(item)
        return item, group

    def _line(self, item: Item) -> OrderedDict[Item, None]:
        group = self._of.get(item)
        return self._others if group is None else self._groups[group].kept
