"""Fences around texts of strangers in prompts."""

import re
from collections.abc import Iterable

_SHORTEST = 3
_BACKTICKS = re.compile("`+")


def fence_around(texts: Iterable[str]) -> str:
    """A fence longer than any run of backticks in the texts: nothing in them ends it."""
    runs = (len(run) for text in texts for run in _BACKTICKS.findall(text))
    return "`" * max(_SHORTEST, 1 + max(runs, default=0))
