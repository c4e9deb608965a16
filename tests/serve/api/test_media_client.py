"""The official client, unmodified, with pictures and files in its messages."""

import base64
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import (
    ChatCompletionContentPartImageParam,
    ChatCompletionContentPartParam,
    ChatCompletionContentPartTextParam,
)
from openai.types.chat.chat_completion_content_part_param import File
from support.seeing import CONTROLS, QWEN, TEMPLATE, data_url, png

WORDS: ChatCompletionContentPartTextParam = {"type": "text", "text": "What is this?"}
PICTURE: ChatCompletionContentPartImageParam = {
    "type": "image_url",
    "image_url": {"url": data_url(png(64, 64)), "detail": "low"},
}
NOTES = base64.b64encode(b"Buy milk.").decode()


async def test_pictures_and_files(storing: Any, listening: Any) -> None:
    house = storing(template=TEMPLATE, controls=CONTROLS, sight=QWEN)
    async with (
        listening(house.app) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as api,
    ):
        kept = await api.files.create(file=("kept.md", b"# Kept"), purpose="user_data")
        sent: File = {"type": "file", "file": {"filename": "notes.txt", "file_data": NOTES}}
        named: File = {"type": "file", "file": {"file_id": kept.id}}
        parts: list[ChatCompletionContentPartParam] = [WORDS, PICTURE, sent, named]
        answer = await api.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": parts}]
        )
        assert answer.choices[0].message.content == "Hello!"
        request = house.engine.request
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == len(request.prompt)
        assert [image.tokens for image in request.images] == [4]
        prompt = house.tokenizer.spell(request.prompt)
        assert '```\nBuy milk.\n```\nFile "kept.md" (Markdown):\n```\n# Kept\n```\n' in prompt
        stream = await api.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": parts}], stream=True
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(said) == "Hello!"
        unknown: File = {"type": "file", "file": {"file_id": "file-1"}}
        with pytest.raises(openai.BadRequestError) as refused:
            await api.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": [unknown]}]
            )
        assert refused.value.code == "file_not_found"
        assert refused.value.param == "messages[0].content[0]"
