"""Texts cut to a length."""

_LONGEST_WORD = 60


def cut(text: str, most: int) -> str:
    """At most so many characters of its beginning, to the end of a word where there are words."""
    if len(text) <= most:
        return text
    head = text[: most + 1]
    at = max(head.rfind(" "), head.rfind("\n"))
    return head[:at].rstrip() if at >= most - _LONGEST_WORD else text[:most]
