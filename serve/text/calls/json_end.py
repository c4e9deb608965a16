"""Where a JSON object ends. Knows nothing of what it means, and takes valid JSON for granted."""


class JsonObject:
    """Finds the brace that closes an object, character by character from its first on."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def ends_with(self, character: str) -> bool:
        """Take one more character; whether it closes the object."""
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._in_string = False
            return False
        if character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
        return self._depth == 0
