"""Where a user's files are kept, as the XDG Base Directory Specification says."""

import os
from pathlib import Path


def user_directory(variable: str, default: str) -> Path | None:
    """Our directory for files of a kind; None for a user without a home directory.

    Args:
        variable: names the base directory, such as `XDG_CACHE_HOME`; only a whole path counts.
        default: the base directory else, such as `~/.cache`.
    """
    base = Path(os.environ.get(variable, ""))
    if not base.is_absolute():
        try:
            base = Path(default).expanduser()
        except RuntimeError:
            # As most users of containers that are given by number.
            return None
        if not base.is_absolute():
            # A HOME like that would be another directory wherever the command is started.
            return None
    return base / "parlance"
