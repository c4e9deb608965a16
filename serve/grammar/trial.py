"""Grammars are tried in a process of their own before this one touches them.

A grammar of a few bytes can make its compiler run for hours or fill the memory; a thread
cannot be stopped, a process can. Knows nothing of what is in a grammar.
"""

import inspect
import logging
import pickle
import signal
from dataclasses import dataclass
from pathlib import Path

import llguidance

from serve.grammar.library import GrammarError, Vocabulary
from serve.helper import Helper, is_of_memory
from serve.kept_helper import KeptHelper

logger = logging.getLogger(__name__)

# What is worth having takes a tenth of it.
_MEMORY = 128 * 2**20
# Of the clock, for a second of a core: a busy machine may take that long.
_PATIENCE = 30.0
_TOO_MUCH = "it takes too much {} to compile; make it smaller, or its repetitions shorter"
_FAILS = "the compiler fails at it; write it in another way"


@dataclass(slots=True)
class Allowance:
    """What trials may still take together.

    Attributes:
        seconds: of one core.
    """

    seconds: float


class Trial(KeptHelper):
    """One trial process.

    Args:
        vocabulary: of the model.
        memory: bytes that the process may take, beyond those that it begins with.
    """

    def __init__(self, vocabulary: Vocabulary, memory: int = _MEMORY) -> None:
        # Neither the working directory nor what the environment names is looked into.
        library = Path(inspect.getfile(llguidance)).parents[1]
        super().__init__(
            "serve.grammar.worker",
            "tries grammars",
            lambda: pickle.dumps((memory, vocabulary)),
            [str(library)],
        )

    def run(self, source: str, allowance: Allowance) -> None:
        """Try a grammar. For one thread at a time.

        Args:
            source: the grammar.
            allowance: what it may take; what it took is taken off.

        Raises:
            GrammarError: it is refused, or takes too much time or memory.
        """
        seconds = allowance.seconds
        if seconds <= 0:
            raise GrammarError(_TOO_MUCH.format("time"))
        helper, _ = self.start()
        try:
            helper.connection.send((source, seconds))
            answered = helper.connection.poll(_PATIENCE * max(1.0, seconds))
            error, spent = (
                helper.connection.recv() if answered else (_TOO_MUCH.format("time"), seconds)
            )
        except (EOFError, OSError):
            answered, spent, error = False, seconds, _why_ended(helper)
        if not answered:
            self._forget()
        allowance.seconds = max(0.0, seconds - spent)
        if error:
            raise GrammarError(error)


def _why_ended(helper: Helper) -> str:
    """Why a process has ended amid a trial; the log gets its last words, unless its time was up."""
    status, said = helper.why_ended()
    if status == -signal.SIGPROF:
        return _TOO_MUCH.format("time")
    how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    logger.warning("the process that tries grammars ended with %s: %s", how, said or "no word")
    return _TOO_MUCH.format("memory") if is_of_memory(status, said) else _FAILS
