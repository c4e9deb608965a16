"""Files: `POST`, `GET` and `DELETE` below `/files`."""

import time
from urllib.parse import quote

from quart import Response, jsonify, request

from serve.api.asking.query_string import from_pairs, from_query
from serve.api.asking.to_store import store_off
from serve.api.exchange import exchange_of
from serve.api.http.keeping import owner_of, store_errors
from serve.api.http.upload import FILE_FIELD, Upload, check_length, receive
from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo
from serve.api.wire.files import FileObject, FileQuery, UploadForm
from serve.api.wire.names import FILE_ID, new_id
from serve.store.blobs import Spool
from serve.store.errors import OwnerFullError
from serve.store.files import Files
from serve.store.kept import Cut, StoredFile
from serve.store.store import Store

_DAY_SECONDS = 86_400


class FilesEndpoint:
    """The handlers.

    Args:
        store: the server's, if it has one.
        settings: of the HTTP side.
    """

    def __init__(self, store: Store | None, settings: ApiSettings) -> None:
        self._store = store
        self._settings = settings

    async def upload(self) -> Response:
        """Keep a file."""
        files, most = self._files(), self._settings.max_file_bytes
        check_length(request, most)
        with store_errors(self._settings):
            async with files.receiving(request.content_length or 0) as spool:
                sent = await receive(request, spool, most, self._settings.body_seconds)
                file = self._file(sent, spool)
                await self._keep(files, file, spool)
        return jsonify(_object(file))

    async def list(self) -> Response:
        """A page of the caller's files."""
        files = self._files()
        query = from_query(request.query_string, FileQuery)
        cut = Cut(query.limit, query.after, newest_first=query.order == "desc")
        with store_errors(self._settings, query.after):
            page = await files.list(_owner(), cut, query.purpose)
        data = [_object(file) for file in page.entries]
        ends = {
            "first_id": page.entries[0].id if data else None,
            "last_id": page.entries[-1].id if data else None,
        }
        return jsonify({"object": "list", "data": data, **ends, "has_more": page.has_more})

    async def retrieve(self, file_id: str) -> Response:
        """What is known of one."""
        return jsonify(_object(await self._found(file_id)))

    async def content(self, file_id: str) -> Response:
        """What is in one."""
        file = await self._found(file_id)
        with store_errors(self._settings):
            content = self._files().content(file.id)
            # The status must not be out before it is known whether there is a content.
            first = await anext(content, b"")

        async def pieces() -> object:
            yield first
            async for piece in content:
                yield piece

        name = quote(file.filename, safe="")
        return Response(
            pieces(),  # pyright: ignore[reportArgumentType]
            headers={
                "Content-Length": str(file.size),
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                # What somebody has uploaded is no page of this server's.
                "X-Content-Type-Options": "nosniff",
            },
            content_type="application/octet-stream",
        )

    async def delete(self, file_id: str) -> Response:
        """Delete one."""
        files = self._files(file_id)
        with store_errors(self._settings):
            if not await files.delete(_owner(), file_id):
                raise _unknown(file_id)
        return jsonify({"id": file_id, "object": "file", "deleted": True})

    def _file(self, sent: Upload, spool: Spool) -> StoredFile:
        if sent.filename is None:
            raise invalid(
                "missing_required_parameter", "Missing required parameter: 'file'.", FILE_FIELD
            )
        form = from_pairs(sent.fields, UploadForm)
        created = int(time.time())
        lasts = self._settings.store_days * _DAY_SECONDS
        if form.expires_after is not None:
            lasts = min(lasts, form.expires_after.seconds)
        return StoredFile(
            id=new_id("file"),
            created=created,
            expires=created + lasts,
            size=spool.size,
            purpose=form.purpose,
            filename=sent.filename,
        )

    async def _keep(self, files: Files, file: StoredFile, spool: Spool) -> None:
        try:
            await files.keep(_owner(), file, spool)
        except OwnerFullError:
            raise invalid(
                "files_too_large",
                f"Your files would have more than the {self._settings.max_files_bytes} bytes "
                f"allowed together: delete some.",
                FILE_FIELD,
            ) from None

    async def _found(self, file_id: str) -> StoredFile:
        files = self._files(file_id)
        with store_errors(self._settings):
            file = await files.get(_owner(), file_id)
        if file is None:
            raise _unknown(file_id)
        return file

    def _files(self, file_id: str | None = None) -> Files:
        if self._store is None:
            raise store_off()
        if file_id is not None and not FILE_ID.fullmatch(file_id):
            raise _unknown(file_id)
        return self._store.files


def _owner() -> str:
    return owner_of(exchange_of(request.scope))


def _object(file: StoredFile) -> dict[str, object]:
    return FileObject(
        id=file.id,
        bytes=file.size,
        created_at=file.created,
        expires_at=file.expires,
        filename=file.filename,
        purpose=file.purpose,
    ).model_dump()


def _unknown(file_id: str) -> ApiError:
    return ApiError(404, f"There is no file {echo(file_id)}.", code="not_found")
