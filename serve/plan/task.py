"""What the process that compiles is asked for, and what it tells."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.mesh import MeshShape
from serve.plan.deployment import Workload


@dataclass(frozen=True, slots=True)
class Task:
    """A plan that is to be made.

    Attributes:
        model: as it was named.
        directory: where its config.json is.
        topology: of the slice.
        mesh: how to divide it; None for what a server would choose.
        work: what it is to hold.
    """

    model: str
    directory: Path
    topology: str
    mesh: MeshShape | None
    work: Workload


@dataclass(frozen=True, slots=True)
class Told:
    """A plan that was made.

    Attributes:
        fits: whether the model fits.
        text: for a person.
        facts: for a program.
    """

    fits: bool
    text: str
    facts: dict[str, Any]
