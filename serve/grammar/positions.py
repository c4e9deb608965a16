"""Where in a grammar something is, for whoever wrote it."""


def told(source: str, position: int, reason: str) -> str:
    """A reason with the line and the column of the character at `position`, from 1 on."""
    line = source.count("\n", 0, position) + 1
    column = position - source.rfind("\n", 0, position)
    return f"line {line}, column {column}: {reason}"
