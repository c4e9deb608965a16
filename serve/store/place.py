"""Where the store is: a file of SQLite, or a database of PostgreSQL."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from serve.store.errors import StoreStartError

_POSTGRESQL = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class Place:
    """One of both.

    Attributes:
        shown: for messages, without a password.
        file: of SQLite, or None.
        url: of PostgreSQL, or "".
    """

    shown: str
    file: Path | None = None
    url: str = ""

    @property
    def uploads(self) -> Path | None:
        """The directory of files' contents; None where they are in the database."""
        return None if self.file is None else self.file.with_name(f"{self.file.name}.files")


def place_of(store: str) -> Place:
    """The place that the setting names.

    Raises:
        StoreStartError: it names no such place.
    """
    scheme, separator, _ = store.partition("://")
    if not separator:
        # The directory may change while the server runs, and SQLite's own names begin with a colon.
        path = Path(store).absolute()
        return Place(str(path), file=path)
    if scheme not in _POSTGRESQL:
        raise StoreStartError(
            f"store begins with {scheme}://; give a file for SQLite, postgresql://…, or off"
        )
    try:
        shown = make_url(store).render_as_string(hide_password=True)
    except (ArgumentError, ValueError) as error:
        # Its message would show the password.
        raise StoreStartError(
            "store is no address of a database; give one like postgresql://user@host/name"
        ) from error
    return Place(shown, url=store)
