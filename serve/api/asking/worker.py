"""The process that drafts long bodies, so that only it is busy with them.

`worker_pool.py` starts a process with `main`. Takes what it is to run with and a `Drafter`, then
bodies one at a time, each after the name of its completion and its codings, and with what stands
for its pictures and files; answers with what was made of it, or what is wrong. A body whose time
is up ends the process with SIGPROF.
"""

import gc
import os
import pickle
import signal
import traceback
from array import array
from dataclasses import dataclass, replace

from serve.api.asking.content_coding import Body
from serve.api.asking.draft import Drafter, Prepared
from serve.api.asking.media import Shown
from serve.api.asking.wanted import Wanted
from serve.api.wire.errors import ApiError
from serve.helper import settle_in, step_back


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one body may take.

    Attributes:
        memory: bytes, beyond those that the process begins with.
        seconds: of a core.
    """

    memory: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Drafted:
    """What a worker made of a body, quick to unpickle.

    Attributes:
        prepared: with an empty prompt and prediction.
        prompt: its ids.
        prediction: its ids.
    """

    prepared: Prepared
    prompt: "array[int]"
    prediction: "array[int]"

    def whole(self) -> Prepared:
        """As `Drafter.draft` returns it."""
        submission = replace(
            self.prepared.submission,
            prompt=self.prompt.tolist(),
            prediction=self.prediction.tolist(),
        )
        return replace(self.prepared, submission=submission)


@dataclass(frozen=True, slots=True)
class Failed:
    """A body over which a worker failed, and goes on.

    Attributes:
        reason: a traceback, or "" where memory ran out.
    """

    reason: str


Reply = Drafted | Wanted | ApiError | Failed


def main() -> None:
    """Serve until the other end is closed."""
    connection = settle_in()
    # A tokenizer's own threads would take the cores that this process leaves to others.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    limits: WorkerLimits
    drafter: Drafter
    limits, drafter = pickle.loads(connection.recv_bytes())  # noqa: S301  (our own process)
    step_back(limits.memory)
    gc.freeze()
    connection.send("")
    while True:
        try:
            completion_id, *codings = connection.recv_bytes().decode().split(" ")
            body = Body(connection.recv_bytes(), tuple(codings))
            shown: Shown | None = pickle.loads(connection.recv_bytes())  # noqa: S301
        except EOFError:
            return
        # Counts what this process computes: on a busy machine a body takes no more of that.
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        reply = pickle.dumps(_reply(drafter, body, completion_id, shown))
        signal.setitimer(signal.ITIMER_PROF, 0)
        del body, shown
        try:
            connection.send_bytes(reply)
        except OSError:
            return


def _reply(drafter: Drafter, body: Body, completion_id: str, shown: Shown | None) -> Reply:
    try:
        prepared = drafter.draft(body, completion_id, shown)
    except ApiError as refused:
        return refused.with_traceback(None)
    except MemoryError:
        return Failed("")
    # Whatever it is: the server answers and logs it, and this process goes on.
    except Exception:  # noqa: BLE001
        return Failed(traceback.format_exc())
    if isinstance(prepared, Wanted):
        return prepared
    submission = prepared.submission
    prompt, prediction = array("i", submission.prompt), array("i", submission.prediction)
    emptied = replace(prepared, submission=replace(submission, prompt=(), prediction=()))
    return Drafted(emptied, prompt, prediction)
