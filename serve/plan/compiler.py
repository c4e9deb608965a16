"""The TPU's own compiler, run on a machine without a TPU.

It comes as the package libtpu. Knows how to have a program compiled for a slice and what comes
back; knows nothing of models.
"""

import importlib.util
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies
from jax.stages import Lowered

from serve.plan.chips import Slice
from serve.plan.errors import CompilerError, PlanError
from serve.plan.program_text import ProgramText, read_program

_TEXT = "*after_codegen.txt"


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler made of a program.

    Attributes:
        argument_bytes: of weights, pages and inputs on one device.
        temporary_bytes: of all that is needed besides while it runs, on one device.
        aliased_bytes: of arguments whose memory the results take over.
        code_bytes: of the program itself.
        text: what it does.
    """

    argument_bytes: int
    temporary_bytes: int
    aliased_bytes: int
    code_bytes: int
    text: ProgramText


def compiler_is_there() -> bool:
    """Whether the compiler is installed."""
    return _library() is not None


def compiler_name() -> str:
    """The compiler's name and version, like `libtpu 0.0.42.1`."""
    library = _library()
    beside = [] if library is None else [str(library.absolute().parent.parent)]
    found = next(iter(distributions(name="libtpu", path=beside)), None)
    return f"libtpu {'of unknown version' if found is None else found.version}"


def _library() -> Path | None:
    """Where the compiler is, as JAX looks for it."""
    if named := os.environ.get("TPU_LIBRARY_PATH"):
        return Path(named)
    package = importlib.util.find_spec("libtpu")
    return None if package is None or not package.origin else Path(package.origin)


def check_compiler() -> None:
    """See that the compiler is installed.

    Raises:
        PlanError: it is not.
    """
    if not compiler_is_there():
        raise PlanError(
            "the TPU's compiler is not installed; install it on any x86-64 Linux machine, best "
            "in a virtual environment of its own, with pip install '.[plan]' at the top of a "
            "checkout"
        )


def slice_devices(where: Slice) -> list[Any]:
    """The devices of a slice, to compile for.

    Raises:
        PlanError: the compiler is not installed, or knows no such slice.
    """
    check_compiler()
    # The compiler takes every host to have four chips, unless it is told that there is one alone.
    hosts = {"chips_per_host_bounds": (1, 1, 1)} if where.chips == 1 else {}
    try:
        return list(topologies.get_topology_desc(where.topology, "tpu", **hosts).devices)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise PlanError(
            f"the TPU's compiler cannot compile for {where.topology} "
            f"({str(error).splitlines()[0]}); choose a slice that exists, like "
            f"{where.chip.name}:{where.chip.slices[1]}"
        ) from error


@contextmanager
def what_it_says() -> Generator[None]:
    """What the compiler says of a program that it does not compile, as errors of ours.

    Raises:
        PlanError: the program does not fit the device's memory.
        CompilerError: the compiler fails at it.
    """
    try:
        yield
    # Of a kernel it is told by an error whose type JAX keeps to itself.
    except Exception as error:
        said = str(error).splitlines()[0]
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in said:
            raise PlanError(f"a step does not fit: {said}") from error
        raise CompilerError(f"the TPU's compiler ({compiler_name()}) fails: {said}") from error


def compile_program(lowered: Lowered, loop_trips: Sequence[int] = (1,)) -> Compiled:
    """Compile a traced program and read what came of it.

    Args:
        lowered: traced for the devices of a slice.
        loop_trips: see `read_program`.

    Raises:
        PlanError: the program does not fit the device's memory.
        CompilerError: the compiler fails at it.
    """
    # JAX may be older than the compiler and then cannot print all its programs; it itself can.
    with tempfile.TemporaryDirectory(prefix="parlance-plan-") as directory:
        options = {"xla_dump_to": directory, "xla_dump_hlo_as_text": True}
        with what_it_says():
            program = lowered.compile(compiler_options=options)
        (text,) = Path(directory).glob(_TEXT)
        read = read_program(text.read_text(encoding="utf-8"), loop_trips)
    memory: Any = program.memory_analysis()
    return Compiled(
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        memory.alias_size_in_bytes,
        memory.generated_code_size_in_bytes,
        read,
    )
