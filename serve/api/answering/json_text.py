"""JSON as answers are written in: without spaces, on what every client takes for one line."""

import json

# Legal in JSON as they are, but some clients take them for the end of a line.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def compact(value: object) -> str:
    """A value without spaces, in ASCII."""
    return json.dumps(value, separators=(",", ":"))


def json_string(text: str) -> str:
    """A string, with its quotes, in as few bytes as may be."""
    encoded = json.dumps(text, ensure_ascii=False)
    return encoded if encoded.isascii() else encoded.translate(_LINE_ENDS)
