"""What is wrong with a schema, and where."""

from serve.grammar.library import GrammarError

Path = tuple[str | int, ...]


class SchemaError(GrammarError):
    """A schema that is malformed, or cannot be enforced.

    Attributes:
        path: where, below the schema.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
