"""A stand-in for a server of the moderation API: flags what has the word `bad`."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModerationServer:
    """What it was asked, and how it answers.

    Attributes:
        url: where it is asked.
        asked: texts of each question.
        keys: what each question had as `Authorization`.
        status: of its answers.
        body: of its answers instead of its own.
        seconds: it takes for one.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[list[str]] = []
        self.keys: list[str | None] = []
        self.status = 200
        self.body: bytes | None = None
        self.seconds = 0.0

    def answer(self, texts: list[str]) -> bytes:
        results: list[dict[str, Any]] = [
            {"flagged": "bad" in text, "categories": {}, "category_scores": {}} for text in texts
        ]
        body = {"id": "modr-1", "model": "stand-in", "results": results}
        return json.dumps(body).encode() if self.body is None else self.body


@contextmanager
def moderation_server() -> Iterator[ModerationServer]:
    """One on a free port of this machine."""
    told = ModerationServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.asked.append(body["input"])
            told.keys.append(self.headers["Authorization"])
            time.sleep(told.seconds)
            data = told.answer(body["input"])
            try:
                self.send_response(told.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                # Who asked has left.
                return

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_port}/v1/moderations"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
