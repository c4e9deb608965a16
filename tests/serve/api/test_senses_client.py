"""The official client, unmodified, where sound and citations are in requests and answers."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat.chat_completion import ChatCompletion
from openai.types.chat.chat_completion_chunk import ChoiceDeltaAudio
from openai.types.chat.chat_completion_message import Annotation, AnnotationURLCitation
from support.senses import FakeHearing, FakeSearch, FakeSpeaker, sound_of

from serve.search.types import Source

SOURCE = Source("Brocken", "https://a.example/brocken", "It is 1,141 metres high.")
HEARD, ANSWER = "How high is the Brocken?", "1,141 m [1]."


@pytest.fixture
async def client(make_house: Any, answering: Any, listening: Any) -> AsyncIterator[AsyncOpenAI]:
    senses = {
        "hearing": FakeHearing(HEARD),
        "search": FakeSearch([SOURCE]),
        "speaker": FakeSpeaker(),
    }
    house = make_house(plan=answering(ANSWER), **senses)
    async with (
        listening(house.app) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


@pytest.fixture
def asked(recording: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": [recording()]}]}


async def test_citations(client: AsyncOpenAI, asked: dict[str, Any]) -> None:
    made: ChatCompletion = await client.chat.completions.create(**asked, web_search_options={})
    told = made.choices[0].message.annotations
    url = AnnotationURLCitation(start_index=8, end_index=11, title=SOURCE.title, url=SOURCE.url)
    assert told == [Annotation(type="url_citation", url_citation=url)]
    # Deltas have none in its types; it keeps what it is given.
    stream: Any = await client.chat.completions.create(**asked, web_search_options={}, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]
    (streamed,) = [delta.annotations for delta in deltas if hasattr(delta, "annotations")]
    assert [Annotation.model_validate(each) for each in streamed] == told


async def test_sound(client: AsyncOpenAI, asked: dict[str, Any]) -> None:
    spoken: dict[str, Any] = {**asked, "modalities": ["text", "audio"]}
    spoken["audio"] = {"format": "pcm16", "voice": "alloy"}
    made: ChatCompletion = await client.chat.completions.create(**spoken)
    message = made.choices[0].message
    assert message.audio is not None
    assert (message.content, message.audio.transcript) == (None, ANSWER)
    assert base64.b64decode(message.audio.data) == sound_of(ANSWER).tobytes()
    assert message.audio.expires_at > made.created
    stream: Any = await client.chat.completions.create(**spoken, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]
    pieces: list[ChoiceDeltaAudio] = [delta.audio for delta in deltas if delta.audio]
    assert "".join(piece.data or "" for piece in pieces) == message.audio.data
    assert "".join(piece.transcript or "" for piece in pieces) == ANSWER
    assert pieces[0].id
    assert pieces[-1].expires_at

    # As its documentation has a conversation go on.
    spoken["messages"] += [
        {"role": "assistant", "audio": {"id": message.audio.id}},
        {"role": "user", "content": "And the Harz?"},
    ]
    again: ChatCompletion = await client.chat.completions.create(**spoken)
    assert again.usage is not None
    assert made.usage is not None
    assert again.usage.prompt_tokens > made.usage.prompt_tokens + len(ANSWER)
    spoken["messages"][1]["audio"]["id"] = "audio-unknown"
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**spoken)
    assert refused.value.param == "messages[1].audio.id"
