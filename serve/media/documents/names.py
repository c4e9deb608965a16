"""A file's name as models and people are shown it."""

import unicodedata

_MOST = 200


def shown_name(name: str) -> str:
    """The name without its directories, on one line, of 200 characters at most.

    What is no character to be seen (controls, directions of writing, halves of pairs) becomes a
    space. A long name keeps its end, where the kind stands.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2][-4 * _MOST :]
    seen = (" " if unicodedata.category(each)[0] in "CZ" else each for each in last)
    short = " ".join("".join(seen).split())
    if len(short) > _MOST:
        short = f"{short[: _MOST // 2 - 1]}…{short[-_MOST // 2 :]}"
    return short or "unnamed"
