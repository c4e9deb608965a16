"""What the server that sees also hears with, and where it searches, for clients to be tried on.

The speech model has random weights, as the model has: what it hears has no sense, but follows from
the sound.
"""

from pathlib import Path

from serve.indexing import index_directory

_SPEECH = Path(__file__).parent.parent / "tests" / "fixtures" / "speech" / "tiny.en"
_BASE_URL = "https://harz.example"
_DOCUMENT = "# Brocken\n\nThe Brocken is 1,141 metres high.\n"


def write_sense_flags(directory: Path) -> tuple[str, ...]:
    """Write an index of one document into a new directory; returns the flags of a server."""
    directory.mkdir()
    (directory / "brocken.md").write_text(_DOCUMENT, encoding="utf-8")
    index_directory(directory, None, _BASE_URL, lambda _: None)
    return ("--speech-model", str(_SPEECH), "--search-index", str(directory))
