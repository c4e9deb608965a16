"""The reading side of server-sent events: bytes in, `data` payloads out.

Used by the clients (`serve/chat`, the load generator). Knows nothing of what the payloads
mean, nor of HTTP.
"""


class EventStreamReader:
    """Incremental reader of `text/event-stream`.

    Keeps `data` fields only, joined by newlines where an event has several; comments and other
    fields are skipped. Lines end in LF or CRLF (WHATWG HTML, 9.2.6).
    """

    def __init__(self) -> None:
        self._unfinished = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Payloads of the events that `chunk` completes, in order."""
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        complete: list[bytes] = []
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif line == b"data":
                self._data.append(b"")
            elif not line and self._data:
                complete.append(b"\n".join(self._data))
                self._data = []
        return complete

    def flush(self) -> None:
        """End of the stream: an event without its closing blank line is dropped."""
        self._unfinished = b""
        self._data = []
