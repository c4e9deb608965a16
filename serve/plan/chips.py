"""TPU chips: the one table of their figures, and the slices of them that can be had.

Figures are those of one device as JAX counts them: a chip, or half of a tpu7x. docs/plan.md shows
the table and says where each figure is from.
"""

from dataclasses import dataclass
from math import prod

from serve.plan.errors import PlanError

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Chip:
    """Figures of one device.

    Attributes:
        name: as a topology names the chip.
        devices: that JAX counts for one chip.
        hbm: bytes that programs can use.
        bandwidth: of HBM, bytes a second.
        peak: bfloat16 operations a second.
        link: bytes a second that one link carries in one direction.
        clock: cycles a second.
        slices: topologies up to 16 chips that are offered, from small to large.
    """

    name: str
    devices: int
    hbm: int
    bandwidth: float
    peak: float
    link: float
    clock: float
    slices: tuple[str, ...]


_FLAT = ("1x1", "2x2", "2x4", "4x4")
_CUBES = ("2x2x1", "2x2x2", "2x2x4")
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", 1, int(15.75 * _GIB), 819e9, 197e12, 50e9, 1.5e9, _FLAT),
        Chip("v6e", 1, int(31.24 * _GIB), 1638e9, 918e12, 100e9, 1.75e9, _FLAT),
        Chip("v5p", 1, int(95.73 * _GIB), 2765e9, 459e12, 100e9, 1.75e9, _CUBES),
        Chip("tpu7x", 2, int(94.74 * _GIB), 3690e9, 1153.5e12, 100e9, 2.2e9, _CUBES),
    )
}


@dataclass(frozen=True, slots=True)
class Slice:
    """Chips that are connected with each other.

    Attributes:
        topology: in words, like `v5e:2x4`.
        chip: of which kind.
        chips: how many.
    """

    topology: str
    chip: Chip
    chips: int

    @property
    def devices(self) -> int:
        """Devices in all."""
        return self.chips * self.chip.devices


def parse_slice(topology: str) -> Slice:
    """The slice that `v5e:2x4` stands for.

    Raises:
        PlanError: that is no slice of a chip in the table.
    """
    name, _, shape = topology.partition(":")
    sides = shape.split("x")
    if name not in CHIPS or not all(side.isdecimal() and int(side) for side in sides):
        raise PlanError(
            f"topology is {topology!r}; it must be a chip of {', '.join(CHIPS)} and how many of it "
            "there are along each side, like v5e:2x4 or v5p:2x2x1"
        )
    return Slice(topology, CHIPS[name], prod(map(int, sides)))


def offered(chip: Chip) -> list[Slice]:
    """The chip's slices, from small to large."""
    return [parse_slice(f"{chip.name}:{shape}") for shape in chip.slices]
