"""The shapes of files: how they are uploaded and listed, and what is told of them."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict

from serve.api.wire.stored import Cursor, Order
from serve.api.wire.strict import Strict
from serve.api.wire.validators import from_text, one_of

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
LONGEST_FILENAME = 255
# The API's own.
_PAGE = 10_000
_SOONEST, _LATEST = 3_600, 2_592_000

_Purpose = Annotated[str, one_of(PURPOSES)]


class ExpiresAfter(Strict):
    """When a file is to be deleted."""

    anchor: Annotated[Literal["created_at"], one_of(["created_at"])]
    seconds: Annotated[int, BeforeValidator(from_text), Ge(_SOONEST), Le(_LATEST)]


class UploadForm(Strict):
    """The fields of an upload beside the file itself."""

    purpose: _Purpose
    expires_after: ExpiresAfter | None = None


class FileQuery(Strict):
    """Which files are asked for."""

    after: Cursor | None = None
    limit: Annotated[int, BeforeValidator(from_text), Ge(1), Le(_PAGE)] = _PAGE
    order: Order = "desc"
    purpose: _Purpose | None = None


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FileObject(_Told):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"


class FileList(_Told):
    """A page of files."""

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(_Told):
    """A file that is no longer there."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


def upload_schema() -> dict[str, Any]:
    """The schema of an upload, as OpenAPI writes it."""
    schema = UploadForm.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    properties = {"file": {"type": "string", "format": "binary"}, **schema["properties"]}
    return {**schema, "properties": properties, "required": ["file", *schema["required"]]}
