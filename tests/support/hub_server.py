"""A hub on this machine: as much of its protocol as its client needs to fetch a model.

What a revision is, which files it has, and the files with their ranges; who may have them; and a
connection that breaks in the middle of one.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_ASKED = re.compile(
    r"(/api/models)?/(?P<model>[^/]+/[^/]+)/(?P<what>revision|tree|resolve)/(?P<revision>[^/]+)"
    r"(/(?P<file>.+))?"
)


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str
    range: str
    authorization: str


@dataclass
class Hub:
    """What it has, and was asked.

    Attributes:
        url: where it is.
        models: id → revision → commit.
        files: commit → path → content.
        private: ids of which nobody without the token hears.
        gated: ids whose files nobody has without the token.
        token: that opens both.
        breaks: paths whose first answer ends in the middle.
        status: of every answer, where it is not 0.
        requests: in the order in which they came.
    """

    url: str = ""
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_opens"
    breaks: set[str] = field(default_factory=set)
    status: int = 0
    requests: list[Request] = field(default_factory=list)

    def publish(self, model: str, files: Mapping[str, bytes], *revisions: str) -> str:
        """Have a new commit, under its own name, under these and as `main`."""
        commit = hashlib.sha1(f"{model} {len(self.files)}".encode()).hexdigest()
        self.files[commit] = files
        self.models.setdefault(model, {}).update(
            dict.fromkeys((commit, "main", *revisions), commit)
        )
        return commit

    def fetched(self) -> list[str]:
        """The files that were asked for, without those of which only the head was."""
        return [
            path.partition("/resolve/")[2].partition("/")[2]
            for method, path, *_ in self.requests
            if method == "GET" and "/resolve/" in path
        ]


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            told = self.headers.get("Range", ""), self.headers.get("Authorization", "")
            hub.requests.append(Request(self.command, path, *told))
            if hub.status:
                self._refuse(hub.status, "")
                return
            opened = told[1] == f"Bearer {hub.token}"
            asked = _ASKED.fullmatch(path)
            if asked is None:
                self._refuse(404, "")
                return
            model, revision, file = asked["model"], asked["revision"], asked["file"]
            if told[1] and not opened:
                self._refuse(401, "", "Invalid credentials in Authorization header")
            elif model not in hub.models or (model in hub.private and not opened):
                self._refuse(404 if opened else 401, "RepoNotFound")
            elif model in hub.gated and file is not None and not opened:
                self._refuse(403, "GatedRepo")
            elif revision not in hub.models[model]:
                self._refuse(404, "RevisionNotFound")
            else:
                commit = hub.models[model][revision]
                if file is not None:
                    self._file(commit, file)
                elif asked["what"] == "revision":
                    self._json({"id": model, "sha": commit, "siblings": self._siblings(commit)})
                else:
                    self._json([entry(name, each) for name, each in hub.files[commit].items()])

        def _siblings(self, commit: str) -> list[dict[str, str]]:
            return [{"rfilename": path} for path in hub.files[commit]]

        def _file(self, commit: str, file: str) -> None:
            content = hub.files[commit].get(file)
            if content is None:
                self._refuse(404, "EntryNotFound")
                return
            begin = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].rstrip("-"))
            self.send_response(206 if begin else 200)
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{oid(content)}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - begin))
            if begin:
                size = len(content)
                self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
            self.end_headers()
            if self.command == "HEAD":
                return
            if file in hub.breaks:
                hub.breaks.remove(file)
                self.wfile.write(content[begin : len(content) // 2])
                self.close_connection = True
                return
            self.wfile.write(content[begin:])

        def _json(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self, status: int, code: str, message: str = "") -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            if message:
                self.send_header("X-Error-Message", message)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def entry(path: str, content: bytes) -> dict[str, object]:
    """What is told of a file."""
    return {"type": "file", "path": path, "size": len(content), "oid": oid(content)}


def oid(content: bytes) -> str:
    """What git calls a file."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()
