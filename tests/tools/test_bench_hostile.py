"""The parts of the benchmark of hostile requests: watching, sending, counting memory."""

import json
import os
import socket
import socketserver
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from serve.api.wire.request import ChatRequest
from tools.bench_hostile import code_of, dearest, extrapolated, summary
from tools.crowd import Answer, Crowd, Sending
from tools.dear_answers import DEAR_ANSWERS
from tools.process_memory import MemoryMark, proportional, tree
from tools.stream_watch import StreamWatch

HOLE_SECONDS = 0.3
STEP_SECONDS = 0.01
STEPS = 40


class Speaker(socketserver.BaseRequestHandler):
    """A stream of `STEPS` chunks with one hole, or 400 where the body is no request."""

    def handle(self) -> None:
        request: socket.socket = self.request
        data = request.recv(1 << 16)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        while len(body) < length:
            body += request.recv(1 << 16)
        if b'"stream"' not in body:
            error = json.dumps({"error": {"code": "no_stream"}}).encode()
            request.sendall(b"HTTP/1.1 400 \r\nContent-Type: application/json\r\n\r\n" + error)
            return
        try:
            request.sendall(b'HTTP/1.1 200 \r\n\r\ndata: {"role":1,"content":""}\n\n')
            for step in range(STEPS):
                time.sleep(HOLE_SECONDS if step == STEPS // 2 else STEP_SECONDS)
                request.sendall(b'data: {"content":"a"}\n\n')
            request.sendall(b"data: [DONE]\n\n")
        except OSError:
            pass


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@pytest.fixture
def url() -> Iterator[str]:
    with Threads(("127.0.0.1", 0), Speaker) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def test_a_hole_in_a_stream_is_its_worst_gap(url: str) -> None:
    between: list[float] = []
    first: list[float] = []
    deadline = time.monotonic() + 30
    with closing(StreamWatch(url, "tiny", 2)) as watch:
        # Several streams, one after another: what is read late before a hole and in time after it
        # makes that one look shorter.
        while len(first) < 8 and time.monotonic() < deadline:
            gaps = watch.for_seconds(10 * HOLE_SECONDS)
            assert not gaps.failures
            between += gaps.between
            first += gaps.first
    assert len(first) >= 8
    assert max(between) > HOLE_SECONDS
    assert STEP_SECONDS / 2 < statistics.median(between) < HOLE_SECONDS / 2


def test_a_gap_that_has_not_ended_counts(url: str) -> None:
    """Somewhere in the hole there is a time in which nothing comes."""
    window = HOLE_SECONDS / 3
    deadline = time.monotonic() + 30
    with closing(StreamWatch(url, "tiny", 1)) as watch:
        while time.monotonic() < deadline:
            between = watch.for_seconds(window).between
            if len(between) == 1 and between[0] > 0.9 * window:
                return
    raise AssertionError("the hole was not seen")


def test_a_crowd_sends_at_once_from_a_process_of_its_own(url: str) -> None:
    with Crowd(url, Sending) as crowd:
        assert crowd.prepare(b"{}" * 500_000, {"X-A": "b"}, 3, "whole", 20.0).clients == 3
        crowd.go()
        answers = crowd.answers()
        assert [answer.status for answer in answers] == [400] * 3
        assert code_of(answers) == "no_stream"
        for reads, seconds in (("slowly", 1.0), ("never", 1.0), ("whole", 0.2)):
            crowd.prepare(b'{"stream": true}', {}, 2, reads, seconds)
            crowd.go()
            assert all(answer.seconds < 5 for answer in crowd.answers())


def test_peaks_of_memory_are_counted_over_a_tree() -> None:
    code = "import time; input(); a = b'1' * (64 << 20); del a; print(1, flush=True); input()"
    # The shell between makes it a tree.
    command = ["sh", "-c", f'"{sys.executable}" -c "{code}"; true']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while len(tree(process.pid)) < 2 or proportional(process.pid) < 4 << 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        mark = MemoryMark.of(process.pid)
        assert mark.peak() < 16 << 20
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert 60 << 20 < mark.peak() < 90 << 20
        assert proportional(process.pid) < 60 << 20
        process.stdin.close()
    assert tree(os.getpid())[0] == os.getpid()


def test_what_small_bodies_take_tells_what_large_ones_will() -> None:
    """Ten seconds at the larger of the two sizes; 48 and 160 thousand bytes."""
    assert extrapolated(3.0, 10.0, 1_600_000) == pytest.approx(100)
    assert extrapolated(0.9, 10.0, 1_600_000) == pytest.approx(1_000)
    assert extrapolated(9.0, 10.0, 1_600_000) == pytest.approx(100)
    assert extrapolated(0.1, 10.0, 1_600_000) == pytest.approx(1_000)


def test_the_dearest_are_not_all_large_in_the_same_way() -> None:
    taken = {"a: x": 9.0, "b: x": 8.0, "c: x": 7.0, "a: y": 6.0, "b: y: z": 1.0}
    assert dearest(taken, 3, 2) == ["a: x", "b: x", "a: y"]
    assert dearest(taken, 9, 1) == ["a: x", "a: y", "b: y: z"]


def test_the_summary_names_the_worst() -> None:
    rows = [
        {"shape": "a", "ratio": 2.0, "noise": 1.5, "peak_mb": 7.0, "answer_s": 0.1},
        {"shape": "b", "ratio": 9.0, "noise": 1.0, "peak_mb": 3.0, "answer_s": 0.5},
    ]
    told = summary(rows, 4, 100)
    assert (told["worst_ratio"], told["worst_shape"], told["worst_noise"]) == (9.0, "b", 1.5)
    assert (told["peak_mb"], told["peak_shape"], told["slowest_shape"]) == (7.0, "a", "b")


def test_an_error_is_told_by_its_code() -> None:
    assert code_of([Answer(200, 1.0, b"{}"), Answer(400, 1.0, b'{"code": "x"}')]) == "x"
    assert code_of([Answer(0, 1.0)]) == ""


def test_dear_answers_are_valid_requests() -> None:
    assert len({answer.name for answer in DEAR_ANSWERS}) == len(DEAR_ANSWERS)
    for answer in DEAR_ANSWERS:
        body = answer.bodies("tiny")(0)
        assert len(body) < 4 * 2**20
        assert ChatRequest.model_validate_json(body) if answer.fields is not None else body == b""
