"""What `parlance plan` does: a plan for one slice, or for the smallest that fit."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from model.config import ModelConfig
from model.families.registry import read_config
from model.mesh import MeshShape, parse_mesh
from model.vision.loading import read_vision
from serve.plan.apart import plan_apart
from serve.plan.chips import CHIPS, offered, parse_slice
from serve.plan.compiler import check_compiler, compiler_is_there
from serve.plan.deployment import Workload, divided, proposals
from serve.plan.errors import PlanError
from serve.plan.presets import model_directory
from serve.plan.report import proposal_json, proposals_text
from serve.plan.task import Task, Told

Say = Callable[[str], None]


def run_plan(
    model: str, topology: str, mesh: str, work: Workload, *, as_json: bool, say: Say
) -> bool:
    """Plan, and say what came of it.

    Args:
        model: directory or preset.
        topology: of the slice; empty for the smallest of each kind of chip.
        mesh: how to divide it, in words; empty for what a server would choose.
        work: what the model is to hold.
        as_json: say it as JSON.
        say: takes what is to be shown.

    Returns:
        Whether the model fits every slice that was compiled for.

    Raises:
        PlanError: there is no plan, or the slice is too small.
        CheckpointError: there is no such model.
        MeshError: it cannot be divided so.
        EngineConfigError: the settings cannot work together.
        CompilerError: the TPU's compiler fails.
    """
    directory = model_directory(model).absolute()
    config, work = read_config(directory), replace(work, tower=read_vision(directory))
    wanted: MeshShape | None = parse_mesh(mesh) if mesh else None

    def planned(topology: str) -> Told:
        divided(config, parse_slice(topology), work, wanted)
        check_compiler()
        return _compiled(Task(model, directory, topology, wanted, work))

    if topology:
        told = planned(topology)
        say(json.dumps(told.facts, indent=2) if as_json else told.text)
        return told.fits
    if wanted is not None:
        raise PlanError(f"mesh is {wanted} without a topology; give the slice that it divides")
    return _plan_smallest(config, model, work, planned, as_json=as_json, say=say)


def _compiled(task: Task) -> Told:
    """The plan, with a bar while its programs are compiled."""
    what = f"compiling for {task.topology}"
    with tqdm(desc=what, unit="program", leave=False, disable=None) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return plan_apart(task, on_progress)


def _plan_smallest(
    config: ModelConfig,
    model: str,
    work: Workload,
    planned: Callable[[str], Told],
    *,
    as_json: bool,
    say: Say,
) -> bool:
    """Plan for the smallest slice of each kind of chip."""
    found = proposals(config, work, [offered(chip) for chip in CHIPS.values()])
    if not found:
        raise PlanError(
            "no slice in the table of chips holds this model; give fewer rows, a shorter context, "
            "or a larger slice as topology"
        )
    if not as_json:
        say(proposals_text(found, model, work))
    plans: list[Told] = []
    if compiler_is_there():
        for where, _ in found:
            plans.append(planned(where.topology))
            if not as_json:
                say("\n" + plans[-1].text)
    elif not as_json:
        say("\nThe TPU's compiler is not installed: nothing was compiled, and no time estimated.")
    if as_json:
        made: dict[str, Any] = {
            "proposals": [proposal_json(where, takes) for where, takes in found],
            "plans": [plan.facts for plan in plans],
        }
        say(json.dumps(made, indent=2))
    return all(plan.fits for plan in plans)
