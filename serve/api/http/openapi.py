"""The OpenAPI 3.1 document, made from the schema that validates and from the contract's rows."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from serve.api.settings import ApiSettings
from serve.api.wire import files, response, stored
from serve.api.wire.contract import CONTRACT
from serve.api.wire.request import ChatRequest
from serve.distribution import installed_version

_RESPONSES = (
    response.ChatCompletion,
    response.ChatCompletionChunk,
    response.ErrorBody,
    response.ModelObject,
    response.ModelList,
    response.Health,
    stored.StoredChatCompletion,
    stored.StoredChatCompletionList,
    stored.StoredMessageList,
    stored.DeletedChatCompletion,
    files.FileObject,
    files.FileList,
    files.DeletedFile,
)
_REQUESTS = (ChatRequest, stored.CompletionUpdate, files.UploadForm)
_ERRORS = {
    400: "The request is wrong: `param` and `code` say where and how.",
    401: "The API key is missing or wrong.",
    404: "There is no such route or model, or nothing that this caller has stored under that id.",
    405: "The route does not take this method.",
    408: "The body took too long to arrive.",
    413: "The body is longer than allowed.",
    415: "The body is not JSON, or compressed with something else than gzip or deflate.",
    429: "The queue is full, or a rate limit is reached; `Retry-After` says when to come again.",
    500: "An unforeseen fault; the message names the request id.",
    503: "The engine is starting, draining or dead, or there is no room for so long a body at "
    "present, or the store takes nothing; see `Retry-After`.",
}
_STREAM = (
    "Server-sent events. Each is `data:` and a ChatCompletionChunk, the last one "
    '`data: [DONE]`. A failure after the start is `data: {"error": …}` without `[DONE]`. '
    "An idle stream gets the comment `: keep-alive`."
)


def document(settings: ApiSettings) -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parlance",
            "version": installed_version() or "0",
            "description": "The Chat Completions API, served from JAX. Routes below /v1 are "
            "also served without that prefix.",
        },
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}] if settings.api_keys else [],
        "paths": _paths(settings),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas() -> dict[str, Any]:
    of_responses: JsonSchemaMode = "serialization"
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in _REQUESTS),
        *((model, of_responses) for model in _RESPONSES),
    ]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = definitions["$defs"]
    properties = schemas["ChatRequest"]["properties"]
    for row in CONTRACT:
        note = "" if row.state == "honoured" else f" ({row.state})"
        properties[row.field]["description"] = f"{row.summary} Accepted: {row.accepted}.{note}"
    return schemas


def _paths(settings: ApiSettings) -> dict[str, Any]:
    prometheus = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/v1/chat/completions": {
            "get": _listing(
                "listChatCompletions",
                "Completions that this caller has stored.",
                "StoredChatCompletionList",
                stored.CompletionQuery,
            ),
            "post": _chat_operation(settings),
        },
        **_stored_paths(),
        **_file_paths(),
        "/v1/models": {
            "get": _operation(
                "listModels",
                "The names under which the model is served.",
                _json("ModelList"),
                [401, 500],
            ),
        },
        "/v1/models/{model_id}": {
            "get": {
                **_operation(
                    "retrieveModel", "One of the names.", _json("ModelObject"), [401, 404, 500]
                ),
                "parameters": [_in_path("model_id")],
            },
        },
        "/health": {"get": _open(_health("health", "The same as /health/ready."))},
        "/health/ready": {
            "get": _open(_health("ready", "200 only while requests can be answered."))
        },
        "/health/live": {
            "get": _open(_operation("live", "200 while the process response.", _status(), [500]))
        },
        "/metrics": {"get": _open(_operation("metrics", "Prometheus metrics.", prometheus, [500]))},
    }


_STORE_ERRORS = (400, 401, 404, 500, 503)


def _stored_paths() -> dict[str, Any]:
    one, errors = [_in_path("completion_id")], _STORE_ERRORS
    body = {"application/json": {"schema": _ref("CompletionUpdate"), "example": _UPDATE}}
    return {
        "/v1/chat/completions/{completion_id}": {
            "get": _operation(
                "getChatCompletion",
                "A stored completion.",
                _json("StoredChatCompletion"),
                errors,
                one,
            ),
            "post": {
                **_operation(
                    "updateChatCompletion",
                    "Replace the metadata of a stored completion.",
                    _json("StoredChatCompletion"),
                    (*errors, 408, 413, 415),
                    one,
                ),
                "requestBody": {"required": True, "content": body},
            },
            "delete": _operation(
                "deleteChatCompletion",
                "Delete a stored completion.",
                _json("DeletedChatCompletion"),
                errors,
                one,
            ),
        },
        "/v1/chat/completions/{completion_id}/messages": {
            "get": _listing(
                "getChatCompletionMessages",
                "The messages of a stored completion's request.",
                "StoredMessageList",
                stored.MessageQuery,
                one,
            ),
        },
    }


def _file_paths() -> dict[str, Any]:
    one, errors = [_in_path("file_id")], _STORE_ERRORS
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    form = {"multipart/form-data": {"schema": files.upload_schema(), "example": _FORM}}
    return {
        "/v1/files": {
            "get": _listing("listFiles", "This caller's files.", "FileList", files.FileQuery),
            "post": {
                **_operation(
                    "createFile", "Upload a file.", _json("FileObject"), (*errors, 408, 413, 415)
                ),
                "requestBody": {"required": True, "content": form},
            },
        },
        "/v1/files/{file_id}": {
            "get": _operation("retrieveFile", "A file.", _json("FileObject"), errors, one),
            "delete": _operation("deleteFile", "Delete a file.", _json("DeletedFile"), errors, one),
        },
        "/v1/files/{file_id}/content": {
            "get": _operation("downloadFile", "What is in a file.", binary, errors, one)
        },
    }


_UPDATE = {"metadata": {"topic": "greeting"}}
_FORM = {"purpose": "user_data", "file": "…"}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _listing(
    name: str,
    summary: str,
    page: str,
    query: type[BaseModel],
    parameters: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """An operation with a parameter for each field of `query`."""
    asked = [
        {
            "name": field,
            "in": "query",
            "schema": schema,
            **({"style": "deepObject"} if field == "metadata" else {}),
        }
        for field, schema in query.model_json_schema()["properties"].items()
    ]
    return _operation(name, summary, _json(page), _STORE_ERRORS, [*parameters, *asked])


_RATE_LIMITS = {
    f"x-ratelimit-{what}-{kind}": {"description": text.format(kind), "schema": {"type": of}}
    for kind in ("requests", "tokens")
    for what, text, of in (
        ("limit", "With --rate-limit: {} that the caller may have in a minute.", "integer"),
        ("remaining", "With --rate-limit: {} that are left.", "integer"),
        ("reset", "With --rate-limit: until all {} are there again, like `1.5s`.", "string"),
    )
}
_NO_EFFECT = {
    "description": "Paths of fields that were accepted and changed nothing, if there are any.",
    "schema": {"type": "string"},
}
_NO_SEARCH = {
    "description": "Why the answer was not searched for, in a word, where that was asked and "
    "failed.",
    "schema": {"type": "string"},
}


def _chat_operation(settings: ApiSettings) -> dict[str, Any]:
    content = {
        **_json("ChatCompletion"),
        "text/event-stream": {
            "schema": {"type": "string", "description": _STREAM},
            "x-event-schema": _ref("ChatCompletionChunk"),
        },
    }
    errors = [400, 401, 404, 408, 413, 415, 429, 500, 503]
    operation = _operation("createChatCompletion", "Answer a conversation.", content, errors)
    for answer in operation["responses"].values():
        answer["headers"] = {**answer["headers"], **_RATE_LIMITS}
    operation["responses"]["200"]["headers"] |= {
        "x-parlance-no-effect": _NO_EFFECT,
        "x-parlance-no-search": _NO_SEARCH,
    }
    return {
        **operation,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref("ChatRequest"),
                    "example": {
                        "model": settings.model_id,
                        "messages": [{"role": "user", "content": "Hello!"}],
                    },
                }
            },
        },
    }


def _operation(
    name: str,
    summary: str,
    content: dict[str, Any],
    errors: Sequence[int],
    parameters: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        **({"parameters": list(parameters)} if parameters else {}),
        "responses": {
            "200": {"description": "Success.", "headers": _HEADERS, "content": content},
            **{str(status): _error(status) for status in errors},
        },
    }


_HEADERS = {
    name: {"description": text, "schema": {"type": kind}}
    for name, text, kind in (
        ("x-request-id", "The caller's own if it is sane, else fresh.", "string"),
        ("openai-processing-ms", "Time until the response began.", "integer"),
        ("openai-version", "Of the API that responses follow.", "string"),
    )
}


def _health(name: str, summary: str) -> dict[str, Any]:
    return _operation(name, summary, _json("Health"), [500, 503])


def _open(operation: dict[str, Any]) -> dict[str, Any]:
    return {**operation, "security": []}


def _error(status: int) -> dict[str, Any]:
    headers = dict[str, Any](_HEADERS)
    if status in (429, 503):
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
    return {"description": _ERRORS[status], "headers": headers, "content": _json("ErrorBody")}


def _status() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"status": {"const": "live"}},
        "required": ["status"],
    }
    return {"application/json": {"schema": schema}}


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(model)}}


def _ref(model: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model}"}
