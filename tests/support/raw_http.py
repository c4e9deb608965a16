"""Bytes to a server and what comes back, without a client library that would mend either."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h2.config
import h2.connection
import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Http1Peer:
    """A client of one HTTP/1.1 connection that sends whatever it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.interim: list[int] = []

    @classmethod
    async def to(cls, url: str) -> "Http1Peer":
        host, port = url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, data: bytes, *, ends: bool = False) -> None:
        self.writer.write(data)
        await self.writer.drain()
        if ends:
            self.writer.write_eof()

    async def answer(self) -> Answer | None:
        """The next final response; None where the connection has ended instead."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    head = await self.reader.readuntil(b"\r\n\r\n")
                except asyncio.IncompleteReadError as cut:
                    if cut.partial:
                        raise
                    return None
                first, *lines = head.decode("latin-1").split("\r\n")[:-2]
                version, status, *_ = first.split(" ")
                assert version == "HTTP/1.1"
                headers = {
                    name.lower(): value for name, _, value in (s.partition(": ") for s in lines)
                }
                if int(status) >= 200:
                    return Answer(int(status), headers, await self._body(headers))
                self.interim.append(int(status))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    async def at_end(self) -> bool:
        """Whether the server has ended the connection; waits for that."""
        with suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                return await self.reader.read() == b""
        return True

    def vanish(self) -> None:
        self.writer.transport.abort()


def frames_in(data: bytes) -> tuple[list[Frame], bytes]:
    """Whole frames, and what is left over."""
    frames: list[Frame] = []
    while len(data) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        if len(data) < 9 + length:
            break
        frame.parse_body(memoryview(data[9 : 9 + length]))
        frames.append(frame)
        data = data[9 + length :]
    return frames, data


class Http2Peer(Http1Peer):
    """A client of one HTTP/2 connection, by prior knowledge, that sends whatever it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._rest = b""
        self.frames: list[Frame] = []
        self._heads: dict[int, dict[str, str]] = {}

    async def at_end(self) -> bool:
        return await self.until(lambda _: False) is None

    async def open(self) -> None:
        preface = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        preface.initiate_connection()
        await self.send(preface.data_to_send() + SettingsFrame(0, flags=["ACK"]).serialize())

    def encoded(self, fields: Mapping[str, str | bytes]) -> bytes:
        """A block of headers."""
        return self._encoder.encode(fields)

    def headers(self, stream: int, fields: Mapping[str, str | bytes], *flags: str) -> bytes:
        """A HEADERS frame; END_HEADERS is set unless `open` is among the flags."""
        frame = HeadersFrame(stream, self.encoded(fields))
        for flag in {"END_HEADERS", *flags} - (
            {"END_HEADERS", "open"} if "open" in flags else set()
        ):
            frame.flags.add(flag)
        return frame.serialize()

    async def until(self, found: Callable[[Frame], bool]) -> Frame | None:
        """The next frame of a kind; None where the connection has ended instead."""
        async with asyncio.timeout(SECONDS):
            while True:
                for at, frame in enumerate(self.frames):
                    if found(frame):
                        return self.frames.pop(at)
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                came, self._rest = frames_in(self._rest + data)
                for frame in came:
                    if isinstance(frame, HeadersFrame):
                        self._heads[frame.stream_id] = dict(self._decoder.decode(frame.data))
                self.frames += came

    async def answer_on(self, stream: int) -> Answer | None:
        """The whole response of a stream; None where it or the connection was ended instead."""
        body = b""
        while True:
            frame = await self.until(
                lambda frame: (
                    isinstance(frame, GoAwayFrame)
                    or (frame.stream_id == stream and isinstance(frame, DataFrame | RstStreamFrame))
                )
            )
            if not isinstance(frame, DataFrame):
                return None
            body += frame.data
            if "END_STREAM" in frame.flags:
                head = self._heads[stream]
                return Answer(int(head[":status"]), head, body)
