"""Takes out of a line what Markdown marks it with. Its words stay, all of them.

Marks are: those of headings, quotes and lists at the line's beginning; asterisks and underscores
around words, backticks, tildes in pairs; brackets; the addresses of links and pictures; numbers in
brackets, which cite. A bar of a table is a comma. A line of marks alone, such as a rule or a fence
of code, says nothing.
"""

import re

# What begins a code block names its language.
_FENCE = re.compile(r"\s*(?:```|~~~)[^`]*")
_BEGINNING = re.compile(r"[\s>]*(?:#{1,6}\s+|[-+*]\s+(?:\[[ xX]\]\s)?)?")
_ADDRESS = re.compile(r"\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*\)")
_CITATIONS = re.compile(r"\s*\[\s*\d{1,3}(?:\s*,\s*\d{1,3})*\s*\](?!\()")
_MARKS = re.compile(r"!(?=\[)|[`\[\]]|~~|(?<!\w)[*_]+(?=\S)|(?<=\S)[*_]+(?!\w)")
_BARS = re.compile(r"\s*\|[\s|]*")
_SPACES = re.compile(r"\s+")


def words_of(text: str, *, begins_line: bool) -> str:
    """What of a text is to be spoken.

    Args:
        text: of one line, or of a part of it.
        begins_line: whether it is the line's beginning.

    Returns:
        words, with single spaces; "" if no letter or digit is left.
    """
    if begins_line:
        if _FENCE.fullmatch(text):
            return ""
        text = text[_BEGINNING.match(text).end() :]  # pyright: ignore[reportOptionalMemberAccess]
    text = _MARKS.sub("", _ADDRESS.sub("", _CITATIONS.sub("", text)))
    text = _SPACES.sub(" ", _BARS.sub(", ", text)).strip(" ,")
    return text if any(map(str.isalnum, text)) else ""
