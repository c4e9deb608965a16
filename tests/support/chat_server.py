"""A server of the API that says what it is told to, for tests of the client."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass
class ChatServer:
    """What it says, and was asked.

    Attributes:
        answers: the pieces of each answer in turn; at an event it waits for whoever sets it, and
            sends comments meanwhile, as servers do.
        refusal: status and error of the answer where there are no more.
        bodies: the requests.
        url: where it is, with `/v1`.
    """

    answers: list[list[str | Event]]
    refusal: tuple[int, dict[str, Any]] = (500, {"message": "there is no answer left"})
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    @property
    def questions(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.bodies]


@contextmanager
def chat_server(
    *answers: list[str | Event], tls: ssl.SSLContext | None = None
) -> Iterator[ChatServer]:
    """A running server."""
    told = ChatServer(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._json(200, {"data": [{"id": "one"}, {"id": "two"}]})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.bodies.append(json.loads(body))
            if not told.answers:
                status, error = told.refusal
                self._json(status, {"error": error})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for piece in told.answers.pop(0):
                if isinstance(piece, Event):
                    # A signal that comes just before a read begins is seen when something is read.
                    while not piece.wait(0.1):
                        self._send(": keep-alive")
                else:
                    self._event(json.dumps({"choices": [{"delta": {"content": piece}}]}))
            self._event("[DONE]")

        def _event(self, data: str) -> None:
            self._send(f"data: {data}")

        def _send(self, line: str) -> None:
            self.wfile.write(f"{line}\n\n".encode())
            self.wfile.flush()

        def _json(self, status: int, value: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that leaves, or does not like the certificate."""

    with Server(("127.0.0.1", 0), Handler) as server:
        scheme = "http" if tls is None else "https"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        told.url = f"{scheme}://127.0.0.1:{server.server_port}/v1"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
