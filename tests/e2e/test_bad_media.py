"""A real server gets bad pictures and files: each is refused at its place, and disturbs nothing."""

import asyncio
import base64
import re
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import bad_documents, bad_images, malformed_media
from support.image_server import Answer, drop_by_drop, image_server, raw, redirect, response
from support.prompts_seen import seen_prompt
from support.seeing import data_url, file
from support.seeing_checkpoints import checkpoint, message_of, text_of
from support.server_process import ServerProcess, end_server, start_server
from support.towers import QWEN

from serve.media.image_kinds import kind_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FLAGS = [
    *("--rows", "4", "--context", "160", "--prefill-chunk", "32", "--page-size", "8"),
    *("--cache-tokens", "640", "--fetch-images"),
]
# For the server this one address of the machine is of the public internet.
PUBLIC = "127.0.0.3"
BEFORE = f"""
import functools, itertools, socket
from serve import gathering
from serve.media.public import is_public

changing = itertools.cycle([["{PUBLIC}"], ["127.0.0.1"]])

async def resolve(host, port):
    if host == "changing.example":
        return next(changing)
    if host.endswith(".example"):
        return {{"pictures.example": ["{PUBLIC}"], "inside.example": ["10.0.0.1"]}}.get(host, [])
    return [each[4][0] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

def public(address):
    return address == "{PUBLIC}" or is_public(address)

gathering.ImageFetcher = functools.partial(gathering.ImageFetcher, resolve=resolve, public=public)
gathering.FetchLimits = functools.partial(gathering.FetchLimits, ports={{80, 443, PORT}})
"""
# A file may take four seconds of a core, which a busy machine may not have sooner.
SECONDS = 180
SIDE_BY_SIDE = 16
# What allocators keep of the largest files, whose bytes were there several times at once.
MOST_GROWN = 384
PLACE = "messages[0].content[1]"
LARGE = 50 * 2**20
ANSWERS: dict[str, Answer] = {
    "/to-loopback": redirect("http://127.0.0.1/"),
    "/to-localhost": redirect("http://localhost/"),
    "/to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
    "/to-a-name-inside": redirect("http://inside.example/"),
    "/to-a-file": redirect("file:///etc/passwd"),
    "/to-itself": redirect("/to-itself"),
    "/changing": redirect("/changing"),
    "/slow": drop_by_drop(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 10_000),
    "/slow-head": drop_by_drop(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000),
    "/silent": drop_by_drop(b"H", 1000),
    "/50-megabytes-said": raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE),
    "/50-megabytes": raw(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(LARGE)),
    "/half": response(b"abc", length=6),
    "/packed": response(b"abc", "Content-Encoding: gzip"),
    "/gone": response(b"", status="404 Not Found"),
    "/page": response(b"<!doctype html>"),
    "/cut": response(bad_images.BAD["PNG, cut in its pixels"]()),
    "/bomb": response(bad_images.BAD["PNG of 2,500 million pixels"]()),
}
INSIDE = [
    *("127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"),
    *("10.0.0.1", "169.254.169.254", "inside.example", "unknown.example"),
]


@dataclass(frozen=True)
class Case:
    """A bad part, made when it is sent, and where in it the fault is."""

    part: Callable[[], dict[str, Any]]
    within: str = ""
    code: str = ""


def image_of(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file_of(name: str) -> dict[str, Any]:
    filename, declared, make, _ = bad_documents.BAD[name]
    data = base64.b64encode(make()).decode()
    return file(filename=filename, file_data=f"data:{declared};base64,{data}")


def bad_picture(make: Callable[[], bytes]) -> dict[str, Any]:
    data = make()
    return image_of(data_url(data, f"image/{kind_of(data) or 'png'}"))


def cases(port: int) -> dict[str, Case]:
    here = f"http://pictures.example:{port}"
    found = {
        f"picture: {name}": Case(lambda make=make: bad_picture(make))
        for name, make in bad_images.BAD.items()
    }
    for name in bad_documents.REFUSED:
        found[f"file: {name}"] = Case(lambda name=name: file_of(name))
    for number, (part, within, code) in enumerate(malformed_media.TABLE):
        found[f"part {number}"] = Case(lambda part=part: part, within, code)
    for path in ANSWERS:
        host = here.replace("pictures", "changing") if path == "/changing" else here
        found[f"fetched: {path}"] = Case(lambda url=host + path: image_of(url))
    for host in INSIDE:
        found[f"fetched: {host}"] = Case(
            lambda host=host: image_of(f"http://{host}/"), code="failed_to_download_image"
        )
    return found


class Asked:
    """A running server whose model sees, what it is asked, and how long it took."""

    def __init__(self, server: ServerProcess, port: int) -> None:
        self.server = server
        self.cases = cases(port)
        self.seconds: dict[str, float] = {}
        prompt = seen_prompt(QWEN, "last")
        self.good = [message_of(QWEN, prompt)]

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.server.url, timeout=SECONDS) as client:
            yield client

    async def ask(self, client: httpx.AsyncClient, messages: Any) -> httpx.Response:
        body = {"model": QWEN, "messages": messages, "temperature": 0, "max_tokens": 8}
        body |= {"logprobs": True, "top_logprobs": 5}
        return await client.post("/chat/completions", json=body)

    async def answer(self, client: httpx.AsyncClient) -> Any:
        """The good question's, as text."""
        response = await self.ask(client, self.good)
        assert response.status_code == 200, response.text
        return response.json()["choices"]

    async def refuse(self, client: httpx.AsyncClient, name: str) -> None:
        case = self.cases[name]
        content = [{"type": "text", "text": text_of([1])}, await asyncio.to_thread(case.part)]
        began = time.monotonic()
        response = await self.ask(client, [{"role": "user", "content": content}])
        self.seconds[name] = time.monotonic() - began
        assert response.status_code in (400, 413), (name, response.text)
        error = response.json()["error"]
        assert error["param"] == PLACE + case.within, (name, error)
        assert error["code"], (name, error)
        assert case.code in ("", error["code"]), (name, error)
        assert (response.status_code == 413) == error["code"].endswith("too_large"), (name, error)

    def slowest(self) -> str:
        order = sorted(self.seconds, key=lambda name: -self.seconds[name])[:8]
        return ", ".join(f"{name} {self.seconds[name]:.1f} s" for name in order)


@pytest.fixture(scope="module")
def port() -> int:
    """A free one."""
    with socket.create_server((PUBLIC, 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory, compile_cache: Path, port: int
) -> Iterator[Asked]:
    directory = checkpoint(QWEN, tmp_path_factory.mktemp("seeing"))
    before = BEFORE.replace("PORT", str(port))
    server = start_server(compile_cache, "--model", str(directory), *FLAGS, before=before)
    yield Asked(server, port)
    assert end_server(server) == 0, "".join(server.lines)


def children(server: ServerProcess) -> list[str]:
    """What each process of the server's runs; a dead one that nobody looked after is one, too."""
    pid = server.process.pid
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_text()
            found.append("".join(re.findall(r"from (serve[\w.]+) import main", command)) or child)
    return sorted(found)


def resident(server: ServerProcess) -> float:
    """MiB of memory that the server holds, without its children's."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096 / 2**20


def assert_well(server: ServerProcess) -> None:
    server.wait_idle(SECONDS)
    assert server.metric("parlance_engine_compilations_total") == 0
    assert httpx.get(f"{server.root}/health/ready", timeout=SECONDS).status_code == 200
    running = children(server)
    assert running.count("serve.media.documents.worker") <= 1
    assert set(running) <= {"serve.media.documents.worker", "serve.api.asking.worker"} | {
        "serve.grammar.worker"
    }


async def test_each_is_refused_at_its_place_and_nothing_is_disturbed(
    asked: Asked, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(asked.cases) >= 80
    async with image_server(PUBLIC, port) as server, asked.client() as client:
        server.answers |= ANSWERS
        await asked.answer(client)
        good = await asked.answer(client)
        # Processes are running, and threads have their memory.
        for name in ("picture: a file that is too large", "file: locked pdf"):
            await asked.refuse(client, name)
        before = resident(asked.server)
        for number, name in enumerate(asked.cases):
            await asked.refuse(client, name)
            if number % 20 == 0:
                assert await asked.answer(client) == good
        assert await asked.answer(client) == good
        after = resident(asked.server)
    with capsys.disabled():
        print(f"\n{len(asked.cases)} bad parts, {after - before:+.0f} MiB; {asked.slowest()}")
    assert after - before < MOST_GROWN
    assert_well(asked.server)


async def test_side_by_side_they_hold_up_nobody(asked: Asked, port: int) -> None:
    names = list(asked.cases)[::6]
    turn = asyncio.Semaphore(SIDE_BY_SIDE)

    async def refuse(client: httpx.AsyncClient, name: str) -> None:
        async with turn:
            await asked.refuse(client, name)

    async with image_server(PUBLIC, port) as server, asked.client() as client:
        server.answers |= ANSWERS
        good = await asked.answer(client)
        bad = asyncio.gather(*(refuse(client, name) for name in names))
        while not bad.done():
            assert await asked.answer(client) == good
        await bad
    assert_well(asked.server)
