"""What a compiled program does, read from its text (HLO): exchanges, copies, cycles, loops.

Knows how XLA spells programs, and nothing of models or chips.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A computation begins with its name at the edge; ENTRY's is the one that runs.
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
# A result's type, the operation and the rest of an instruction; a tuple's type has spaces.
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (\([^=]*?\)|\S+) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](\{[^}]*\})?")
_CALLED = re.compile(r"\b(?:calls|body|condition|to_apply)=%?([\w.\-]+)")
_PARTS = re.compile(r"\bcalled_computations=\{([^}]*)\}")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_BITS = re.compile(r"\d+")
# Long tuples are numbered in between.
_COMMENT = re.compile(r"/\*.*?\*/")
# What an asynchronous operation calls is counted where it starts.
_WENT_ON = ("async-update", "async-done")
# The compiler's word for cycles that it does not know.
_UNKNOWN = 1 << 62
_EXCHANGES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_KERNEL = 'custom_call_target="tpu_custom_call"'
_ON_CORE = "S(1)"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A collective.

    Attributes:
        kind: as HLO names it.
        bytes: of its result on one device.
    """

    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Copy:
    """An array that is copied whole.

    Attributes:
        values: how many it has.
        bytes: of it.
        fetched: it goes from the device's memory to the core's own, where it is used; else it
            is rearranged or moved without need.
        beside: it runs beside other work, and the cycles do not count it.
    """

    values: int
    bytes: int
    fetched: bool
    beside: bool


@dataclass(frozen=True, slots=True)
class ProgramText:
    """What there is in a program, loops counted as often as they run.

    Attributes:
        exchanges: in order.
        copies: in order.
        kernels: calls of hand-written kernels.
        cycles: of fusions and copies, as the compiler estimates them; kernels, exchanges and
            copies that run beside other work are not in it.
        unknown: fusions whose cycles the compiler does not know.
    """

    exchanges: tuple[Exchange, ...]
    copies: tuple[Copy, ...]
    kernels: int
    cycles: int
    unknown: int

    def then(self, other: "ProgramText") -> "ProgramText":
        """What there is in two programs that run one after the other."""
        return ProgramText(
            self.exchanges + other.exchanges,
            self.copies + other.copies,
            self.kernels + other.kernels,
            self.cycles + other.cycles,
            self.unknown + other.unknown,
        )


@dataclass(frozen=True, slots=True)
class _Instruction:
    kind: str
    type: str
    rest: str


def read_program(text: str, loop_trips: Sequence[int] = (1,)) -> ProgramText:
    """Read a program.

    Args:
        text: of an optimized module.
        loop_trips: how often loops run whose number of rounds the device finds: those that are in
            no other such loop, those within one, and so on; the last is of all that are deeper.
    """
    computations: dict[str, list[_Instruction]] = {}
    entry, current = "", []
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            current = computations.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif found := _INSTRUCTION.match(_COMMENT.sub("", line)):
            current.append(_Instruction(found[2], found[1], found[3]))
    return _read(entry, computations, loop_trips)


def _read(
    name: str, computations: Mapping[str, list[_Instruction]], loop_trips: Sequence[int]
) -> ProgramText:
    exchanges: list[Exchange] = []
    copies: list[Copy] = []
    kernels = cycles = unknown = 0
    for each in computations.get(name, []):
        kind = each.kind.removesuffix("-start")
        known = _CYCLES.search(each.rest)
        if kind == "copy":
            copies.append(_copy(each))
        if kind in _EXCHANGES:
            exchanges.append(Exchange(kind, _largest(each.type)[1]))
        elif _KERNEL in each.rest and each.kind == "custom-call":
            kernels += 1
        elif known is not None:
            cycles += int(known[1]) if int(known[1]) < _UNKNOWN else 0
            unknown += int(known[1]) >= _UNKNOWN
        elif each.kind not in _WENT_ON:
            times, within = 1, loop_trips
            if each.kind == "while" and (known := _TRIPS.search(each.rest)):
                times = int(known[1])
            elif each.kind == "while":
                times, within = loop_trips[0], loop_trips[1:] or loop_trips
            parts = [_read(part, computations, within) for part in _called(each)]
            for part in parts:
                exchanges += part.exchanges * times
                copies += part.copies * times
                kernels += part.kernels * times
                cycles += part.cycles * times
                unknown += part.unknown * times
    return ProgramText(tuple(exchanges), tuple(copies), kernels, cycles, unknown)


def _called(each: _Instruction) -> list[str]:
    # Of a conditional's branches the first is taken for what runs, that of what is not so: no
    # row asks for a rule of sampling.
    branches = _BRANCHES.search(each.rest)
    if branches:
        return [branches[1].split(",")[0].strip().removeprefix("%")]
    parts = _PARTS.search(each.rest)
    named = [part.strip().removeprefix("%") for part in parts[1].split(",")] if parts else []
    return named + _CALLED.findall(each.rest)


def _copy(each: _Instruction) -> Copy:
    # The type of an asynchronous copy is (where to, where from, a token).
    arrays = [match for match in _ARRAY.finditer(each.type) if match[2]]
    values, size = _largest(each.type)
    target = arrays[0][3] or "" if arrays else ""
    return Copy(values, size, _ON_CORE in target, each.kind == "copy-start")


def _largest(type_: str) -> tuple[int, int]:
    """Values and bytes of an array's type, or of the largest of a tuple's."""
    found = [(0, 0)]
    for match in _ARRAY.finditer(type_):
        values = math.prod(int(size) for size in match[2].split(",") if size)
        bits = _BITS.search(match[1])
        found.append((values, values * int(bits[0] if bits else 8) // 8))
    return max(found, key=lambda pair: pair[1])
