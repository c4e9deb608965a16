"""The trial process: tries grammars of strangers, so that only it can grow or hang.

Started by `trial.py`, with the number of a connection's descriptor as its argument. Takes a
vocabulary, then grammars one at a time; each is compiled and followed for a little, and answered
with an error or nothing.
"""

import resource
import sys
from multiprocessing.connection import Connection
from typing import cast

from serve.grammar.library import (
    GrammarError,
    Vocabulary,
    compile_grammar,
    make_tokenizer,
    rehearse,
)


def main() -> None:
    """Serve until the other end is closed."""
    connection: Connection[str, object] = Connection(int(sys.argv[1]))
    memory, vocabulary = cast("tuple[int, Vocabulary]", connection.recv())
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tokenizer = make_tokenizer(vocabulary)
    connection.send("")
    while True:
        try:
            source = connection.recv()
        except EOFError:
            return
        try:
            rehearse(compile_grammar(tokenizer, str(source)), vocabulary.end_ids)
        except GrammarError as error:
            connection.send(str(error))
        else:
            connection.send("")


if __name__ == "__main__":
    main()
