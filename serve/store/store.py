"""The store: completions and files of one place, and the task that sweeps it.

Knows nothing of HTTP, of the shapes of requests and answers, nor of the engine.
"""

import asyncio
import logging
from dataclasses import dataclass

from serve.store.blobs import DiskBlobs, TableBlobs
from serve.store.completions import Completions
from serve.store.database import Database
from serve.store.errors import StoreUnavailableError
from serve.store.files import Files
from serve.store.metrics import StoreMetrics
from serve.store.place import place_of
from serve.store.room import Room
from serve.store.spoken import Spoken
from serve.store.sweep import DAY_SECONDS, Sweep

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What a person who runs the server decides about the store.

    Attributes:
        place: a file for SQLite, or the address of a PostgreSQL database.
        keep_days: completions are deleted after so many, and files that name no time.
        most_bytes: that all completions and files may have.
        most_owner_bytes: that the files of one API key may have.
        sweep_seconds: between two sweeps.
    """

    place: str
    keep_days: int = 30
    most_bytes: int = 10 * 2**30
    most_owner_bytes: int = 2**30
    sweep_seconds: float = 60.0


class Store:
    """One store. Nothing is opened or made before it is needed.

    Args:
        settings: say where, how long and how much.
        metrics: told of what happens.

    Raises:
        StoreStartError: there can be no store at that place.
    """

    def __init__(self, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self.settings = settings
        self._place = place_of(settings.place)
        self._database = Database(self._place, metrics)
        room = Room(settings.most_bytes, metrics)
        uploads = self._place.uploads
        blobs = TableBlobs(self._database) if uploads is None else DiskBlobs(uploads)
        seconds = settings.keep_days * DAY_SECONDS
        self.completions = Completions(self._database, room, metrics, seconds)
        self.files = Files(self._database, blobs, room, metrics, settings.most_owner_bytes)
        self.spoken = Spoken(self._database, room)
        self._sweep = Sweep(self._database, blobs, room, metrics, seconds)
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def is_made(self) -> bool:
        """Whether there is something to open."""
        return self._place.file is None or self._place.file.exists()

    async def check(self) -> None:
        """See whether what is there can be used. One that does not answer may do so later.

        Raises:
            StoreStartError: a newer server has made it.
        """
        try:
            if self.is_made:
                await self._database.open()
        except StoreUnavailableError as error:
            logger.warning(
                "the store at %s does not work (%s): until it does, requests with store are "
                "answered 503",
                self._place.shown,
                error,
            )
        finally:
            await self._database.close()

    async def start(self) -> None:
        """Sweep from now on."""
        self._sweeping = asyncio.create_task(self._keep_swept())

    async def close(self) -> None:
        """Let what is being written be written, and end."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        await self._database.close()

    async def sweep(self) -> None:
        """Sweep now. Raises StoreUnavailableError."""
        await self._sweep.once()

    async def _keep_swept(self) -> None:
        while True:
            try:
                if self.is_made:
                    await self.sweep()
            except (StoreUnavailableError, OSError) as error:
                logger.warning("the store was not swept: %s", error)
            await asyncio.sleep(self.settings.sweep_seconds)
