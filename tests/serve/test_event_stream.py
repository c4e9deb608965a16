import pytest

from serve.event_stream import EventStreamReader

STREAM = (
    b": keep-alive\n\n"
    b"data: one\n\n"
    b"event: x\nid: 7\ndata:two\ndata:  three\nretry: 5\n\n"
    b"retry: 9\n\n"
    b"data\r\n\r\n"
    b"data: caf\xc3\xa9\r\n\r\n"
)
PAYLOADS = [b"one", b"two\n three", b"", "café".encode()]


def test_payloads() -> None:
    assert EventStreamReader().feed(STREAM) == PAYLOADS


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_chunk_borders_make_no_difference(size: int) -> None:
    reader = EventStreamReader()
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [payload for piece in pieces for payload in reader.feed(piece)] == PAYLOADS


def test_an_unfinished_event_is_dropped() -> None:
    reader = EventStreamReader()
    assert reader.feed(b"data: half\n") == []
    reader.flush()
    assert reader.feed(b"\ndata: whole\n\n") == [b"whole"]
