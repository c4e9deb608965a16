"""The process that compiles for a slice: one plan, and then it ends.

`apart.py` starts it. The TPU's compiler runs in it alone, for where the compiler fails at its own
work it ends the process that it is in. Takes a `Task`; sends (done, total) as programs are
compiled, then a `Told`, or the error.
"""

import os
from typing import cast

from serve.helper import settle_in
from serve.plan.environment import PLAN_ENVIRONMENT
from serve.plan.task import Task, Told


def main() -> None:
    """Make the plan that is asked for."""
    connection = settle_in()
    os.environ.update(PLAN_ENVIRONMENT)
    from model.families.registry import read_config
    from serve.engine.config import EngineConfigError
    from serve.plan.chips import parse_slice
    from serve.plan.deployment import deploy
    from serve.plan.errors import CompilerError, PlanError
    from serve.plan.plan import make_plan
    from serve.plan.report import plan_json, plan_text

    task = cast("Task", connection.recv())
    try:
        config, where = read_config(task.directory), parse_slice(task.topology)
        plan = make_plan(
            deploy(config, where, task.work, task.mesh), lambda *done: connection.send(done)
        )
    except (CompilerError, EngineConfigError, PlanError) as error:
        connection.send(error)
        return
    text, facts = plan_text(plan, task.model, task.work), plan_json(plan, task.model, task.work)
    connection.send(Told(plan.fits, text, facts))
