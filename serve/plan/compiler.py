"""The TPU's own compiler, run on a machine without a TPU.

It comes as the package libtpu. Knows how to have a program compiled for a slice and what comes
back; knows nothing of models.
"""

import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies
from jax.stages import Lowered

from serve.plan.chips import Slice
from serve.plan.errors import PlanError
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
    library = os.environ.get("TPU_LIBRARY_PATH", "")
    return bool(library) or importlib.util.find_spec("libtpu") is not None


def slice_devices(where: Slice) -> list[Any]:
    """The devices of a slice, to compile for.

    Raises:
        PlanError: the compiler is not installed, or knows no such slice.
    """
    if not compiler_is_there():
        raise PlanError(
            "the TPU's compiler is not installed; install it on any x86-64 Linux machine, best in a "
            "virtual environment of its own, with pip install '.[plan]' at the top of a checkout"
        )
    try:
        return list(topologies.get_topology_desc(where.topology, "tpu").devices)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise PlanError(
            f"the TPU's compiler cannot compile for {where.topology} "
            f"({str(error).splitlines()[0]}); choose a slice that exists, like "
            f"{where.chip.name}:{where.chip.slices[1]}"
        ) from error


def compile_program(lowered: Lowered, loop_trips: int = 1) -> Compiled:
    """Compile a traced program and read what came of it.

    Args:
        lowered: traced for the devices of a slice.
        loop_trips: see `read_program`.

    Raises:
        PlanError: the program does not fit the device's memory.
    """
    # JAX may be older than the compiler and then cannot print all its programs; it itself can.
    with tempfile.TemporaryDirectory(prefix="parlance-plan-") as directory:
        options = {"xla_dump_to": directory, "xla_dump_hlo_as_text": True}
        try:
            program = lowered.compile(compiler_options=options)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise PlanError(f"a step does not fit: {str(error).splitlines()[0]}") from error
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
