"""Plans are made in a process of their own, whose end is seen and told.

Where the TPU's compiler fails at its own work it ends its process, at times once and not again.
Knows nothing of what is in a plan.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from serve.helper import Helper, is_of_memory
from serve.plan.compiler import compiler_name
from serve.plan.errors import CompilerError
from serve.plan.task import Task, Told

_WORKER = "serve.plan.worker"
_TRIES = 2


def plan_apart(
    task: Task, on_progress: Callable[[int, int], None], *, worker: str = _WORKER
) -> Told:
    """Have a plan made; once more, in a fresh process, where the first one dies.

    Args:
        task: the plan.
        on_progress: called with (programs compiled, programs in all).
        worker: the module that makes it.

    Raises:
        CompilerError: the compiler fails, or its process has died twice.
        PlanError: the slice cannot be compiled for, or a step does not fit it.
        EngineConfigError: the settings cannot work together.
    """
    ends: list[str] = []
    while len(ends) < _TRIES:
        helper = Helper(worker, [place for place in sys.path if Path(place).is_absolute()])
        try:
            return _followed(helper, task, on_progress)
        except (EOFError, OSError):
            ends.append(_end_in_words(*helper.why_ended()))
        finally:
            helper.close()
    raise CompilerError(
        f"the TPU's compiler ({compiler_name()}) died twice while it compiled for "
        f"{task.topology}: {', then '.join(dict.fromkeys(ends))}; give another slice, other rows "
        f"or another page size, or install another version of it"
    )


def _followed(helper: Helper, task: Task, on_progress: Callable[[int, int], None]) -> Told:
    helper.connection.send(task)
    while True:
        answer: Told | Exception | tuple[int, int] = helper.connection.recv()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Told):
            return answer
        on_progress(*answer)


def _end_in_words(status: int, said: str) -> str:
    how = f"{signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
    if is_of_memory(status, said):
        return f"{how}, for want of memory"
    words = said.splitlines()
    return f"{how}, after “{words[-1].strip()}”" if words else how
