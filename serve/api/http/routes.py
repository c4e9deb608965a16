"""Which path is answered by which handler."""

from typing import Any

from quart import Quart

from serve.api.http.chat import ChatEndpoint
from serve.api.http.docs_page import DocsEndpoint
from serve.api.http.files import FilesEndpoint
from serve.api.http.health import HealthEndpoint
from serve.api.http.models import ModelsEndpoint
from serve.api.http.stored import StoredEndpoint


def add_routes(
    app: Quart,
    *,
    chat: ChatEndpoint,
    models: ModelsEndpoint,
    health: HealthEndpoint,
    docs: DocsEndpoint,
    stored: StoredEndpoint,
    files: FilesEndpoint,
) -> None:
    """Have `app` answer every path that there is. The API's own are there without `/v1` too."""
    for prefix in ("/v1", ""):
        _add(app, "POST", f"{prefix}/chat/completions", chat.__call__)
        _add(app, "GET", f"{prefix}/models", models.list)
        _add(app, "GET", f"{prefix}/models/<path:model_id>", models.retrieve)
        _add_stored(app, f"{prefix}/chat/completions", stored)
        _add_files(app, f"{prefix}/files", files)
    _add(app, "GET", "/health/live", health.live)
    _add(app, "GET", "/health/ready", health.ready)
    _add(app, "GET", "/health", health.ready)
    _add(app, "GET", "/metrics", health.metrics)
    _add(app, "GET", "/openapi.json", docs.openapi)
    _add(app, "GET", "/docs", docs.page)


def _add_stored(app: Quart, path: str, stored: StoredEndpoint) -> None:
    one = f"{path}/<completion_id>"
    _add(app, "GET", path, stored.list)
    _add(app, "GET", one, stored.retrieve)
    _add(app, "POST", one, stored.update)
    _add(app, "DELETE", one, stored.delete)
    _add(app, "GET", f"{one}/messages", stored.messages)


def _add_files(app: Quart, path: str, files: FilesEndpoint) -> None:
    one = f"{path}/<file_id>"
    _add(app, "POST", path, files.upload)
    _add(app, "GET", path, files.list)
    _add(app, "GET", one, files.retrieve)
    _add(app, "DELETE", one, files.delete)
    _add(app, "GET", f"{one}/content", files.content)


def _add(app: Quart, method: str, path: str, handler: Any) -> None:
    app.add_url_rule(path, f"{method} {path}", handler, methods=[method])
