"""The table of pictures and files that are wrong, and what each is answered."""

from typing import Any

import pytest
from support.malformed_media import TABLE, TEXT, picture
from support.seeing import file, image, seeing_house, text

from serve.api.wire.response import ErrorBody


@pytest.fixture(scope="module")
def seeing(make_house: Any) -> Any:
    return seeing_house(make_house)


@pytest.mark.parametrize(("part", "param", "code"), TABLE)
async def test_is_told_in_its_place(seeing: Any, part: Any, param: str, code: str) -> None:
    content = [text("A"), part]
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
    response = await seeing.post(body)
    answer = await response.get_json()
    assert response.status_code == 400
    ErrorBody.model_validate(answer)
    told = answer["error"]["param"], answer["error"]["code"]
    assert told == (f"messages[0].content[1]{param}", code)
    assert seeing.engine.generations == []


@pytest.mark.parametrize("role", ["system", "developer", "assistant", "tool"])
@pytest.mark.parametrize("part", [image(), file(file_data=TEXT)])
async def test_only_users_send_pictures_and_files(seeing: Any, role: str, part: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": role, "content": [part], **({"tool_call_id": "c1"} if role == "tool" else {})},
    ]
    response = await seeing.post({"model": "tiny", "messages": messages})
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert error["param"].startswith("messages[2].content[0]")


async def test_of_several_files_or_pictures_the_first_is_told(seeing: Any) -> None:
    content = [image(), picture("cat.png"), picture("dog.png")]
    response = await seeing.post(
        {"model": "tiny", "messages": [{"role": "user", "content": content}]}
    )
    assert (await response.get_json())["error"]["param"] == "messages[0].content[1]"
