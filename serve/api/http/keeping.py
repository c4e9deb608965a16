"""Saving an answer: a place for it before it is begun, and there for good before it is told.

Knows nothing of what is in it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Generator
from contextlib import contextmanager

from serve.api.asking.to_store import ToStore
from serve.api.exchange import Exchange
from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo
from serve.store.errors import StoreFullError, StoreUnavailableError, UnknownCursorError
from serve.store.kept import Asked
from serve.store.store import Store

_LOG = logging.getLogger("parlance.api")


def owner_of(exchange: Exchange) -> str:
    """Whoever may see what is stored by this request; all are one where no key is asked for."""
    return exchange.key or ""


def unavailable(error: StoreUnavailableError, settings: ApiSettings) -> ApiError:
    """The store does not do its work: 503. Why is for whoever runs the server."""
    seconds = settings.retry_after_seconds
    full = isinstance(error, StoreFullError)
    reason = "is full: delete something" if full else "does not take or tell anything at present"
    return ApiError(
        503,
        f"The server's store {reason}. Try again in {seconds} s, or without it.",
        type="server_error",
        code="store_full" if full else "store_unavailable",
        headers={"Retry-After": str(seconds)},
    )


def unknown_cursor(after: str | None) -> ApiError:
    """A list was to go on after something that is not there: 400."""
    return invalid(
        "invalid_value", f"Invalid 'after': there is nothing with the id {echo(after)}.", "after"
    )


@contextmanager
def store_errors(settings: ApiSettings, after: str | None = None) -> Generator[None]:
    """What the store raises in this block, in the API's words.

    Args:
        settings: of the HTTP side.
        after: what a list is to go on after.

    Raises:
        ApiError: 503, the store does not do its work; 400, there is nothing to go on after.
    """
    try:
        yield
    except StoreUnavailableError as error:
        raise unavailable(error, settings) from error
    except UnknownCursorError as error:
        raise unknown_cursor(after) from error


class Keeping:
    """One completion on its way into the store.

    Args:
        store: that it goes into.
        completion_id: its name.
        settings: of the HTTP side.
    """

    def __init__(self, store: Store, completion_id: str, settings: ApiSettings) -> None:
        self._store = store
        self._id = completion_id
        self._settings = settings
        self._open = True

    async def begin(self, asked: Asked) -> None:
        """Write what is known before there is an answer.

        Raises:
            ApiError: 503; it cannot be, and nothing is written.
        """
        try:
            with store_errors(self._settings):
                await self._store.completions.reserve(asked)
        except ApiError:
            self._open = False
            raise

    async def keep(self, created: int, answer: str) -> None:
        """Keep the answer; it is durable when this returns.

        Raises:
            ApiError: 503; it cannot be.
        """
        # What has been begun goes on, whoever leaves.
        self._open = False
        try:
            with store_errors(self._settings):
                await self._store.completions.finish(self._id, created, answer)
        except ApiError:
            self._open = True
            raise

    def give_up(self) -> None:
        """There will be no answer, unless it is there already."""
        if self._open:
            self._open = False
            releasing = asyncio.create_task(self._store.completions.release(self._id))
            releasing.add_done_callback(_told)


def _told(releasing: asyncio.Task[None]) -> None:
    if not releasing.cancelled() and (error := releasing.exception()):
        # A sweep finds it later.
        _LOG.warning("a reservation stays in the store for a while: %s", error)


class Keeper:
    """Reserves places in the store.

    Args:
        store: the server's, if it has one.
        settings: of the HTTP side.
    """

    def __init__(self, store: Store | None, settings: ApiSettings) -> None:
        self._store = store
        self._settings = settings

    async def reserve(
        self, asked: ToStore | None, exchange: Exchange, completion_id: str
    ) -> Keeping | None:
        """A place for an answer; None where it is not to be stored.

        Raises:
            ApiError: 503; the store cannot take it.
        """
        if asked is None or self._store is None:
            return None
        keeping = Keeping(self._store, completion_id, self._settings)
        # However the exchange ends.
        exchange.on_close(keeping.give_up)
        request_id = json.dumps(exchange.request_id)
        await keeping.begin(
            Asked(
                id=completion_id,
                owner=owner_of(exchange),
                created=int(time.time()),
                model=asked.model,
                metadata=asked.metadata,
                fields=f'{{"request_id":{request_id},{asked.fields[1:]}',
                messages=asked.messages,
            )
        )
        return keeping
