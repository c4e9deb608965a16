"""A process that compiles and dies amid it, as often as it is told; see `test_apart.py`."""

import os
import sys

from serve.helper import settle_in
from serve.plan.errors import PlanError
from serve.plan.task import Told


def main() -> None:
    """Die as often as the task's topology says, and tell how often before."""
    connection = settle_in()
    task = connection.recv()
    starts = task.directory / "starts"
    with starts.open("a") as file:
        file.write(".")
    connection.send((0, 5))
    if starts.stat().st_size <= int(task.topology):
        # More than a pipe holds.
        print("a stack\n" * 20_000 + "F0000 Check failed: no register is left", file=sys.stderr)
        sys.stderr.flush()
        os.abort()
    if task.model == "too large":
        connection.send(PlanError("a step does not fit"))
        return
    connection.send((5, 5))
    connection.send(Told(True, "a plan", {"fits": True}))
