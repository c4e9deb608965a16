"""The trial process: tries grammars of strangers, so that only it can grow or hang.

`trial.py` starts a process with `main`.
Takes a vocabulary, then grammars one at a time, each with the seconds that it may take; it is
compiled and followed for a little, and answered with an error, or "", and the seconds that it took.
Time that is up ends the process with SIGPROF.
"""

import signal
import time
from typing import cast

from serve.grammar.library import (
    GrammarError,
    Vocabulary,
    compile_grammar,
    make_tokenizer,
    rehearse,
)
from serve.helper import settle_in, step_back


def main() -> None:
    """Serve until the other end is closed."""
    connection = settle_in()
    memory, vocabulary = cast("tuple[int, Vocabulary]", connection.recv())
    tokenizer = make_tokenizer(vocabulary)
    step_back(memory)
    connection.send("")
    while True:
        try:
            source, seconds = cast("tuple[str, float]", connection.recv())
        except EOFError:
            return
        # Counts what this process computes: on a busy machine a grammar takes no more of that.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        began, error = time.process_time(), ""
        try:
            rehearse(compile_grammar(tokenizer, source), vocabulary.end_ids)
        except GrammarError as refused:
            error = str(refused)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send((error, time.process_time() - began))
