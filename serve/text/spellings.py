"""Finding control tokens' spellings in text."""

import re
from collections.abc import Collection


def spelling_pattern(spellings: Collection[str]) -> re.Pattern[str]:
    """Finds the longest of `spellings` at each place, in time that hardly grows with their number.

    A vocabulary may have thousands: they are tried character by character, `<(?:a|unused(?:0|1))>`.
    """

    def after(rests: Collection[str]) -> str:
        by_head: dict[str, list[str]] = {}
        for rest in rests:
            if rest:
                by_head.setdefault(rest[0], []).append(rest[1:])
        if not by_head:
            return ""
        branches = "|".join(re.escape(head) + after(tails) for head, tails in by_head.items())
        if "" in rests:
            return f"(?:{branches})?"
        return f"(?:{branches})" if len(by_head) > 1 else branches

    return re.compile(after(spellings) or r"(?!)")
