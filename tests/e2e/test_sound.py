"""A real server hears questions and speaks answers, while processes fail and clients leave."""

import asyncio
import base64
import io
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionAudio
from openai.types.chat.chat_completion_message import Annotation
from support.packaged_models import MUST_FETCH, whisper_tiny_en
from support.processes import children, held, memory
from support.server_process import MODEL, ServerProcess, end_server, start_server
from support.sounds import mp3, wav
from support.waiting import until

from tools.espeak import speak

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUESTION = "Tell me a story."
RATE = 24_000
# Spoken, it is longer than what lies between a server and a client that does not read.
LONG = " ".join(f"This is the sentence with the number {number}." for number in range(1, 21))
KEYS = ("first", "second")
EXPIRES_SECONDS = 10
SEARCH_SECONDS = 1
# Each sentence takes a moment while a file is there; a process that is silent hangs sooner.
BEFORE = """
import functools, os
from serve import senses
os.environ["PATH"] = "{0}" + os.pathsep + os.environ["PATH"]
senses.VoiceSettings = functools.partial(senses.VoiceSettings, silence_seconds=3.0)
"""
ESPEAK = '#!/bin/sh\n[ -e "{0}/slow" ] && sleep 0.2\nexec {1} "$@"\n'
RESULTS = (
    b'{"results": [{"url": "https://example.org/brocken", "title": "Brocken", '
    b'"content": "1,141 metres high."}]}'
)
FOUND = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(RESULTS) + RESULTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = shutil.which("espeak-ng")
    if program is None and not MUST_FETCH:
        pytest.skip("there is no espeak-ng to speak: apt-get install espeak-ng")
    folder = tmp_path_factory.mktemp("sound")
    whisper_tiny_en(folder)
    (folder / "keys").write_text("\n".join(KEYS))
    script = folder / "espeak-ng"
    script.write_text(ESPEAK.format(folder, program))
    script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def search_server() -> Iterator[socket.socket]:
    """Accepts, and says nothing of itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(scope="module")
def server(
    compile_cache: Path, folder: Path, search_server: socket.socket
) -> Iterator[ServerProcess]:
    running = start_server(
        compile_cache,
        *("--speech-model", str(folder / "hub"), "--api-key-file", str(folder / "keys")),
        *("--audio-seconds", str(EXPIRES_SECONDS), "--search-seconds", str(SEARCH_SECONDS)),
        *("--search-url", f"http://127.0.0.1:{search_server.getsockname()[1]}"),
        before=BEFORE.format(folder),
    )
    # It was asked at the start.
    search_server.accept()[0].close()
    yield running
    assert end_server(running) == 0, "".join(running.lines)


@pytest.fixture
def slowly(folder: Path) -> Iterator[None]:
    """Each sentence takes a moment."""
    (folder / "slow").touch()
    yield
    (folder / "slow").unlink()


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.url, api_key=KEYS[0], max_retries=0) as client:
        yield client


def asked(text: str = QUESTION, form: str = "pcm16", **fields: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "modalities": ["text", "audio"],
        "audio": {"format": form, "voice": "alloy"},
        **fields,
    }


def saying(text: str, **fields: Any) -> dict[str, Any]:
    """A request whose answer is that text."""
    return asked(extra_body={"guided_choice": [text]}, max_tokens=600, **fields)


async def spoken(client: openai.AsyncOpenAI, **request: Any) -> ChatCompletionAudio:
    completion = await client.chat.completions.create(**request)
    (choice,) = completion.choices
    assert choice.message.content is None
    assert isinstance(choice.message.audio, ChatCompletionAudio)
    return choice.message.audio


async def streamed(client: openai.AsyncOpenAI, **request: Any) -> dict[int, tuple[str, bytes]]:
    """What each choice says, and its sound."""
    told: dict[int, tuple[str, bytes]] = {}
    async for chunk in await client.chat.completions.create(**request, stream=True):
        (choice,) = chunk.choices
        if choice.delta.audio is not None:
            text, data = told.get(choice.index, ("", b""))
            audio = choice.delta.audio
            more = base64.b64decode(audio.data or "")
            told[choice.index] = text + (audio.transcript or ""), data + more
    return told


def seconds_of(file: bytes) -> float:
    with av.open(io.BytesIO(file)) as container:
        (stream,) = container.streams
        frames = [frame for packet in container.demux(stream) for frame in packet.decode()]
        return sum(frame.samples / frame.sample_rate for frame in frames)


@pytest.fixture(scope="module")
def question() -> dict[str, bytes]:
    sound = speak(QUESTION, "en-us+f3", 140)
    return {"wav": wav(sound), "mp3": mp3(sound)}


@pytest.fixture(scope="module")
def first_answer() -> list[ChatCompletionAudio]:
    """Gets the first that is spoken."""
    return []


@pytest.mark.parametrize("heard", ["wav", "mp3"])
async def test_a_question_that_is_spoken_is_answered_aloud(
    client: openai.AsyncOpenAI,
    question: dict[str, bytes],
    first_answer: list[ChatCompletionAudio],
    heard: str,
) -> None:
    told: ChatCompletion = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0
    )
    part = {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(question[heard]).decode(), "format": heard},
    }
    wanted = 0.0
    for form in ("pcm16", "wav", "mp3", "flac", "opus", "aac"):
        completion = await client.chat.completions.create(
            **asked(form=form) | {"messages": [{"role": "user", "content": [part]}]}
        )
        assert completion.usage.prompt_tokens == told.usage.prompt_tokens
        assert completion.usage.completion_tokens == told.usage.completion_tokens
        audio = completion.choices[0].message.audio
        assert audio is not None
        assert audio.transcript == told.choices[0].message.content
        file = base64.b64decode(audio.data)
        wanted = wanted or len(file) / 2 / RATE
        seconds = wanted if form == "pcm16" else seconds_of(file)
        assert seconds == pytest.approx(wanted, rel=0.02)
        first_answer.append(audio)
    assert wanted > 5


async def test_a_stream_is_the_plain_answer(client: openai.AsyncOpenAI) -> None:
    """Over HTTP/2 too."""
    plain = await spoken(client, **asked())
    expected = plain.transcript, base64.b64decode(plain.data)
    assert await streamed(client, **asked()) == {0: expected}
    eight = await asyncio.gather(*(streamed(client, **asked(n=2)) for _ in range(8)))
    assert eight == [{0: expected, 1: expected}] * 8
    async with httpx.AsyncClient(http1=False, http2=True, timeout=60) as http:
        assert await streamed(client.with_options(http_client=http), **asked()) == {0: expected}


def later(answer_id: str) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [
            {"role": "assistant", "audio": {"id": answer_id}},
            {"role": "user", "content": "Go on."},
        ],
        "max_tokens": 1,
    }


async def test_a_later_turn_names_an_answer(
    client: openai.AsyncOpenAI, first_answer: list[ChatCompletionAudio]
) -> None:
    answer = await spoken(client, **asked())
    by_id = await client.chat.completions.create(**later(answer.id))
    request = later(answer.id)
    request["messages"][0] = {"role": "assistant", "content": answer.transcript}
    by_words = await client.chat.completions.create(**request)
    assert by_id.usage.prompt_tokens == by_words.usage.prompt_tokens
    other = client.with_options(api_key=KEYS[1])
    old = first_answer[0] if first_answer else answer
    await asyncio.sleep(max(0, old.expires_at - time.time() + 0.1))
    refused = [(other, answer.id), (client, "audio-" + "0" * 22), (client, old.id)]
    for asking, answer_id in refused:
        with pytest.raises(openai.BadRequestError) as error:
            await asking.chat.completions.create(**later(answer_id))
        assert (error.value.code, error.value.param) == ("audio_not_found", "messages[0].audio.id")


def worker(server: ServerProcess, of: str = "voice") -> int:
    (found,) = children(server.process.pid, f"serve.{of}.worker")
    return found


async def text_beside(client: openai.AsyncOpenAI) -> Callable[[], Any]:
    """A stream of text that has begun; what is returned sees that it is the plain answer."""
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 300,
        "extra_body": {"ignore_eos": True},
    }
    plain = await client.chat.completions.create(**request)
    stream = await client.chat.completions.create(**request, stream=True)
    told = [await anext(stream)]

    async def whole() -> None:
        told.extend([chunk async for chunk in stream])
        text = "".join(chunk.choices[0].delta.content or "" for chunk in told)
        assert text == plain.choices[0].message.content

    return whole


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("killed", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_process_that_fails_amid_a_speech(
    server: ServerProcess,
    client: openai.AsyncOpenAI,
    killed: signal.Signals,
    *,
    stream: bool,
) -> None:
    await spoken(client, **saying("Hello."))
    first = worker(server)
    call = streamed if stream else spoken
    speaking = asyncio.ensure_future(call(client, **saying(LONG)))
    await until(lambda: children(first))
    text = await text_beside(client.with_options(api_key=KEYS[1]))
    # A sentence of which nothing has been heard is spoken again, by another process.
    while not speaking.done():
        for process in children(server.process.pid, "serve.voice.worker"):
            if children(process):
                os.kill(process, killed)
        await asyncio.sleep(0.02)
    with pytest.raises(openai.APIError) as error:
        await speaking
    assert error.value.code == "voice_failed"
    if isinstance(error.value, openai.APIStatusError):
        assert error.value.status_code == 503
        assert int(error.value.response.headers["retry-after"]) > 0
    else:
        assert stream
    await text()
    assert (await spoken(client, **saying("Hello."))).transcript == "Hello."
    assert worker(server) != first


@pytest.mark.parametrize("killed", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_is_not_there_any_more_is_not_missed(
    server: ServerProcess,
    client: openai.AsyncOpenAI,
    question: dict[str, bytes],
    killed: signal.Signals,
) -> None:
    """That which decodes is killed; one that has stopped is killed amid its work."""
    data = base64.b64encode(question["wav"]).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    request = asked() | {"messages": [{"role": "user", "content": [part]}]}
    expected = await spoken(client, **request)
    process = worker(server, "media.sound")
    os.kill(process, killed)
    hearing = asyncio.ensure_future(spoken(client, **request))
    if killed == signal.SIGSTOP:
        await asyncio.sleep(0.5)
        os.kill(process, signal.SIGKILL)
    assert (await hearing).transcript == expected.transcript
    assert worker(server, "media.sound") != process
    os.kill(worker(server), signal.SIGKILL)
    assert (await spoken(client, **request)).data == expected.data


@pytest.mark.usefixtures("slowly")
async def test_nothing_is_left_of_those_who_leave(
    server: ServerProcess, client: openai.AsyncOpenAI
) -> None:
    pid = server.process.pid
    await spoken(client, **saying("Hello."))
    process, before, took = worker(server), None, 0.0
    for _ in range(30):
        stream = await client.chat.completions.create(**saying(LONG, n=2), stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.audio is not None and chunk.choices[0].delta.audio.data:
                break
        await stream.close()
        await until(lambda: not children(process))
        # What is kept for the next ones is there after the first.
        before, took = before or held(pid), took or memory(pid)
    await until(lambda: held(pid) <= before)
    # Of each client the sound would be five.
    assert memory(pid) < took + 64
    server.wait_idle(10)
    assert worker(server) == process


async def test_whoever_reads_slowly_holds_nobody_up(
    server: ServerProcess, client: openai.AsyncOpenAI
) -> None:
    plain = await spoken(client, **saying(LONG))
    slow = await client.chat.completions.create(**saying(LONG), stream=True)
    told = [await anext(slow)]
    other = await spoken(client.with_options(api_key=KEYS[1]), **saying(LONG))
    assert other.data == plain.data
    data = b""
    async for chunk in slow:
        audio = chunk.choices[0].delta.audio
        if audio is not None and audio.data:
            data += base64.b64decode(audio.data)
            await asyncio.sleep(0.01)
    assert data == base64.b64decode(plain.data)
    assert told[0].choices[0].delta.role == "assistant"
    server.wait_idle(10)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(FOUND, None), (b"", "unreachable"), (FOUND[:80], "unreachable"), (None, "timeout")],
    ids=["found", "ended", "cut", "silent"],
)
async def test_answers_are_spoken_with_what_was_found_and_without(
    client: openai.AsyncOpenAI,
    search_server: socket.socket,
    answer: bytes | None,
    reason: str | None,
) -> None:
    def once() -> None:
        connection, _ = search_server.accept()
        with connection:
            connection.recv(65_536)
            if answer is None:
                connection.recv(1)
            else:
                connection.sendall(answer)

    answering = threading.Thread(target=once)
    answering.start()
    request = saying("It is 1,141 metres high [1].", web_search_options={})
    response = await client.chat.completions.with_raw_response.create(**request)
    answering.join()
    message = response.parse().choices[0].message
    assert response.headers.get("x-parlance-no-search") == reason
    assert message.audio is not None
    assert message.audio.transcript.endswith("[1].")
    if reason is None:
        (annotation,) = message.annotations or ()
        assert isinstance(annotation, Annotation)
        cited = annotation.url_citation
        assert cited.url == "https://example.org/brocken"
        assert message.audio.transcript[cited.start_index : cited.end_index] == "[1]"
    else:
        assert message.annotations == []


@pytest.mark.usefixtures("slowly")
async def test_a_server_that_is_told_to_end_speaks_to_the_end(
    server: ServerProcess, client: openai.AsyncOpenAI
) -> None:
    expected = await streamed(client, **saying(LONG))
    speaking = asyncio.ensure_future(streamed(client, **saying(LONG)))
    await until(lambda: children(worker(server)))
    server.process.terminate()
    assert await speaking == expected
    assert await asyncio.to_thread(server.process.wait, 60) == 0
