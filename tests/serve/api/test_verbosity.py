"""`verbosity`, where a template knows it and where none does."""

from typing import Any

import pytest

USER = [{"role": "user", "content": "Hi"}]
KNOWS = (
    "{{ verbosity | default('unset') }}:{% for message in messages %}{{ message.role }} "
    "{{ message.content }};{% endfor %}"
)
BRIEF = "Be brief: answer in as few words as the question allows."
LONG = "Answer at length: explain, and give details and examples."
SYSTEM = "[[<|im_start|>]]system\n{}[[<|im_end|>]]\n"
ASKED = "[[<|im_start|>]]user\nHi[[<|im_end|>]]\n[[<|im_start|>]]assistant\n"


async def prompt(house: Any, **fields: Any) -> str:
    response = await house.post({"model": "tiny", "messages": USER, **fields})
    assert response.status_code == 200, await response.get_data()
    return house.tokenizer.spell(house.engine.request.prompt)


@pytest.mark.parametrize(
    ("verbosity", "shown", "said"),
    [
        ("low", "low", SYSTEM.format(BRIEF)),
        ("medium", "unset", ""),
        ("high", "high", SYSTEM.format(LONG)),
        (None, "unset", ""),
    ],
)
async def test_the_template_or_the_system_part_says_it(
    make_house: Any, verbosity: str | None, shown: str, said: str
) -> None:
    knows = make_house(template=KNOWS)
    assert await prompt(knows, verbosity=verbosity) == f"{shown}:user Hi;"
    assert await prompt(make_house(), verbosity=verbosity) == said + ASKED


async def test_the_sentence_follows_what_the_system_part_says(make_house: Any) -> None:
    messages = [{"role": "system", "content": "You are a cook."}, *USER]
    asked = {"verbosity": "low", "messages": messages, "response_format": {"type": "json_object"}}
    words = "Answer with one JSON object on one line, and nothing else."
    system = SYSTEM.format(f"You are a cook.\n\n{BRIEF}\n\n{words}")
    assert await prompt(make_house(), **asked) == system + ASKED


@pytest.mark.parametrize(
    ("value", "code"), [("lowest", "invalid_value"), (1, "invalid_type"), ("", "invalid_value")]
)
async def test_other_values_are_refused(house: Any, ask: Any, value: Any, code: str) -> None:
    response = await house.post(ask(verbosity=value))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, "verbosity", code)


async def test_the_variable_is_set_once(make_house: Any, ask: Any) -> None:
    house = make_house(template=KNOWS)
    asked = ask(verbosity="low", chat_template_kwargs={"verbosity": "high"})
    error = (await (await house.post(asked)).get_json())["error"]
    assert (error["param"], error["code"]) == ("chat_template_kwargs.verbosity", "invalid_value")
