"""Streams that run on and on, and the gaps between what arrives of them.

On bare sockets and one thread, so that the measuring costs next to nothing of the machine that is
measured. Knows nothing of what else is sent to the server.
"""

import json
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_READ_BYTES = 1 << 16
_LONGEST_WAIT = 0.05
_END = b"data: [DONE]"


@dataclass(slots=True)
class Gaps:
    """What was seen of the streams for a while. In seconds.

    Attributes:
        between: times between one arrival of text and the next in the same stream.
        first: times from asking to the first text.
        failures: statuses other than 200, and streams that broke off.
    """

    between: list[float] = field(default_factory=list[float])
    first: list[float] = field(default_factory=list[float])
    failures: int = 0


@dataclass(slots=True)
class _Stream:
    link: socket.socket
    asked: float
    last: float = 0.0
    tail: bytes = b""
    begun: bool = False


class StreamWatch:
    """Keeps streams running. Close it in the end.

    Args:
        url: base address of the API.
        model: whom to ask.
        count: how many streams.
    """

    def __init__(self, url: str, model: str, count: int) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        body = json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": "Count."}],
                "stream": True,
                "stream_options": {"include_obfuscation": False},
                "ignore_eos": True,
                # Another caller than all who are measured beside them.
                "user": "watched",
            }
        ).encode()
        head = (
            f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\n\r\n"
        )
        self._request = head.encode() + body
        self._selector = selectors.DefaultSelector()
        self._gaps = Gaps()
        for _ in range(count):
            self._open()

    def close(self) -> None:
        """Leave all streams."""
        for key in list(self._selector.get_map().values()):
            key.data.link.close()
        self._selector.close()

    def until(self, done: Callable[[], bool]) -> Gaps:
        """Watch until `done()` says so, which is asked after each arrival and now and then."""
        self._gaps = gaps = Gaps()
        now = time.perf_counter()
        for key in self._selector.get_map().values():
            key.data.last = now if key.data.begun else 0.0
        while not done():
            for key, _ in self._selector.select(_LONGEST_WAIT):
                self._read(key.data)
        now = time.perf_counter()
        for key in self._selector.get_map().values():
            # What has not come yet has taken that long at least.
            stream: _Stream = key.data
            (gaps.between if stream.begun else gaps.first).append(
                now - (stream.last if stream.begun else stream.asked)
            )
        return gaps

    def for_seconds(self, seconds: float) -> Gaps:
        """Watch for so long."""
        end = time.perf_counter() + seconds
        return self.until(lambda: time.perf_counter() >= end)

    def _open(self) -> None:
        link = socket.create_connection(self._address)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(self._request)
        link.setblocking(False)
        self._selector.register(
            link, selectors.EVENT_READ, _Stream(link, asked=time.perf_counter())
        )

    def _read(self, stream: _Stream) -> None:
        now = time.perf_counter()
        try:
            data = stream.link.recv(_READ_BYTES)
        except OSError:
            data = b""
        whole = stream.tail + data
        if b'"content":"' in data and b'"role"' not in data:
            if stream.begun:
                self._gaps.between.append(now - stream.last)
            else:
                stream.begun = True
                self._gaps.first.append(now - stream.asked)
            stream.last = now
        stream.tail = whole[-len(_END) :]
        if not data or _END in whole:
            if _END not in whole:
                self._gaps.failures += 1
                time.sleep(_LONGEST_WAIT)
            self._selector.unregister(stream.link)
            stream.link.close()
            self._open()
