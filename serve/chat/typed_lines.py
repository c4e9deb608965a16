"""The lines that a person types: edited, and those of earlier conversations at hand.

They are kept in `chat_history` below the user's state (XDG Base Directory), for their eyes only.
"""

import contextlib
import sys
from collections.abc import Callable

from serve.user_directories import user_directory

_PROMPT = "\n> "
_MOST_LINES = 1000


def line_reader() -> Callable[[], str]:
    """What reads a line from a terminal. Where there is no readline, it only does that."""
    try:
        import readline
    except ImportError:
        return lambda: input(_PROMPT)
    directory = user_directory("XDG_STATE_HOME", "~/.local/state")
    if directory is None or not sys.stdout.isatty():
        return lambda: input(_PROMPT)
    path = directory / "chat_history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
        readline.read_history_file(path)
    except OSError as error:
        print(f"what you type is not kept for the next time: {error}", file=sys.stderr)
        return lambda: input(_PROMPT)
    readline.set_history_length(_MOST_LINES)
    # With libedit there is no appending: of two conversations at once, one's lines are kept.
    append = getattr(readline, "append_history_file", None)

    def read() -> str:
        known = readline.get_current_history_length()
        line = input(_PROMPT)
        # Blank lines and repeated ones are not new to readline.
        if new := readline.get_current_history_length() - known:
            # At once, because closing the terminal's window ends this process at once.
            with contextlib.suppress(OSError):
                if append is None:
                    readline.write_history_file(path)
                else:
                    append(new, path)
        return line

    return read
