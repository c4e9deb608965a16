"""Stored completions: `GET`, `POST` and `DELETE` below `/chat/completions`.

What was stored is put together as text: it is as large as answers are, and nobody reads it here.
"""

import json

from pydantic import ValidationError
from quart import Response, request

from serve.api.asking.content_coding import decoded
from serve.api.asking.json_body import parse_object
from serve.api.asking.query_string import from_query
from serve.api.asking.to_store import store_off
from serve.api.asking.validation import first_fault
from serve.api.exchange import exchange_of
from serve.api.http.json_request import json_body
from serve.api.http.keeping import owner_of, store_errors
from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.api.wire.faults import echo
from serve.api.wire.names import COMPLETION_ID, message_id, message_place
from serve.api.wire.stored import (
    CompletionQuery,
    CompletionUpdate,
    MessageQuery,
    listed,
    stored_completion,
    stored_message,
)
from serve.store.completions import Completions
from serve.store.kept import CompletionFilter, Cut, StoredCompletion
from serve.store.store import Store

# 16 pairs of the longest keys and values, each character escaped, take 110 KiB.
MOST_UPDATE_BYTES = 128 * 2**10


class StoredEndpoint:
    """The handlers.

    Args:
        store: the server's, if it has one.
        settings: of the HTTP side.
    """

    def __init__(self, store: Store | None, settings: ApiSettings) -> None:
        self._store = store
        self._settings = settings

    async def list(self) -> Response:
        """A page of the caller's completions."""
        completions = self._completions()
        query = from_query(request.query_string, CompletionQuery)
        model = query.model and self._settings.told_name(query.model)
        chosen = CompletionFilter(model, query.metadata or {})
        with store_errors(self._settings, query.after):
            page = await completions.list(_owner(), _cut(query), chosen)
        ids = [entry.id for entry in page.entries]
        return _json(listed(list(map(_object, page.entries)), ids, has_more=page.has_more))

    async def retrieve(self, completion_id: str) -> Response:
        """One of them."""
        completions = self._completions(completion_id)
        with store_errors(self._settings):
            return _found(await completions.get(_owner(), completion_id), completion_id)

    async def update(self, completion_id: str) -> Response:
        """Replace the metadata of one."""
        completions = self._completions(completion_id)
        body = await json_body(request)
        if len(body.data) > MOST_UPDATE_BYTES:
            raise ApiError(
                413,
                f"The request's body is longer than the {MOST_UPDATE_BYTES} bytes allowed.",
                code="request_too_large",
            )
        fields = parse_object(decoded(body, MOST_UPDATE_BYTES), self._settings.max_json_depth)
        try:
            change = CompletionUpdate.model_validate(fields)
        except ValidationError as error:
            raise first_fault(error) from error
        metadata = change.metadata or {}
        with store_errors(self._settings):
            changed = await completions.relabel(_owner(), completion_id, metadata)
        return _found(changed, completion_id)

    async def delete(self, completion_id: str) -> Response:
        """Delete one."""
        completions = self._completions(completion_id)
        with store_errors(self._settings):
            if not await completions.delete(_owner(), completion_id):
                raise _unknown(completion_id)
        told = {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}
        return _json(json.dumps(told))

    async def messages(self, completion_id: str) -> Response:
        """A page of the messages of one."""
        completions = self._completions(completion_id)
        query = from_query(request.query_string, MessageQuery)
        after = None if query.after is None else message_place(completion_id, query.after)
        with store_errors(self._settings, query.after):
            page = await completions.messages(_owner(), completion_id, _cut(query), after)
        if page is None:
            raise _unknown(completion_id)
        objects = [stored_message(completion_id, *entry) for entry in page.entries]
        ids = [message_id(completion_id, place) for place, _ in page.entries]
        return _json(listed(objects, ids, has_more=page.has_more))

    def _completions(self, completion_id: str | None = None) -> Completions:
        if self._store is None:
            raise store_off()
        if completion_id is not None and not COMPLETION_ID.fullmatch(completion_id):
            raise _unknown(completion_id)
        return self._store.completions


def _owner() -> str:
    return owner_of(exchange_of(request.scope))


def _cut(query: MessageQuery) -> Cut:
    return Cut(query.limit, query.after, newest_first=query.order == "desc")


def _object(kept: StoredCompletion) -> str:
    return stored_completion(kept.answer, kept.fields, kept.metadata)


def _found(kept: StoredCompletion | None, completion_id: str) -> Response:
    if kept is None:
        raise _unknown(completion_id)
    return _json(_object(kept))


def _unknown(completion_id: str) -> ApiError:
    return ApiError(404, f"There is no stored completion {echo(completion_id)}.", code="not_found")


def _json(body: str) -> Response:
    return Response(body, content_type="application/json")
