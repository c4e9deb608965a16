import json
from typing import Any

import pytest

START, END = "[[<|im_start|>]]", "[[<|im_end|>]]"

SHOW_ALL = (
    "{% for m in messages %}{{ m.role }}|{{ m.name }}|{{ m.content }}|{{ m.tool_call_id }}"
    "{% if m.tool_calls %}|{{ m.tool_calls | tojson }}{% endif %}"
    ";{% endfor %}"
)

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CUSTOM = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "<b>"}}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"role": "user", "content": "Hi", "name": "Ann"}, "user|Ann|Hi|"),
        ({"role": "user", "content": ""}, "user|||"),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            "user||ab|",
        ),
        ({"role": "system", "content": "Be brief"}, "system||Be brief|"),
        ({"role": "developer", "content": "Be brief"}, "system||Be brief|"),
        ({"role": "assistant", "content": "Yes"}, "assistant||Yes|"),
        ({"role": "assistant", "content": None, "refusal": "No"}, "assistant||No|"),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
            "assistant||No|",
        ),
        (
            {"role": "assistant", "content": [{"type": "text", "text": "a"}], "refusal": "No"},
            "assistant||aNo|",
        ),
        (
            {"role": "assistant", "tool_calls": [CALL, CUSTOM]},
            (
                'assistant||||[{"id": "c1", "type": "function", "function": {"name": "f", '
                '"arguments": {"a": 1}}}, {"id": "c2", "type": "function", "function": '
                '{"name": "g", "arguments": {"input": "<b>"}}}]'
            ),
        ),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            (
                'assistant||||[{"id": "call_0", "type": "function", "function": {"name": "f", '
                '"arguments": {}}}]'
            ),
        ),
        ({"role": "function", "name": "f", "content": "7"}, "tool|f|7|"),
    ],
)
async def test_messages_reach_the_template(make_house: Any, message: Any, shown: str) -> None:
    house = make_house(template=SHOW_ALL, settings={"tool_format": "hermes"})
    assert await house.prompt_of([message]) == shown + ";"


async def test_tool_answers_reach_the_template(make_house: Any) -> None:
    house = make_house(template=SHOW_ALL, settings={"tool_format": "hermes"})
    prompt = await house.prompt_of(
        [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "7", "tool_call_id": "c1"},
        ]
    )
    assert prompt.endswith(";tool|f|7|c1;")


@pytest.mark.parametrize("field", ["tool_calls", "function_call"])
@pytest.mark.parametrize(
    "arguments",
    ['{"a": "\\ud800"}', '{"a": ' + "[" * 329 + "]" * 329 + "}", '{"a": 1e999}', '{"a": '],
    ids=["surrogate", "deep", "overflow", "cut"],
)
async def test_arguments_that_are_no_object_stay_text(
    make_house: Any, field: str, arguments: str
) -> None:
    house = make_house(template=SHOW_ALL, settings={"tool_format": "hermes"})
    called = {"name": "f", "arguments": arguments}
    calls = [{**CALL, "function": called}]
    message = {"role": "assistant", field: called if field == "function_call" else calls}
    prompt = await house.prompt_of([message])
    assert json.dumps(arguments) in prompt


async def test_an_answer_can_be_sent_back_as_it_came(house: Any, ask: Any) -> None:
    answer = await (await house.post(ask())).get_json()
    messages = [
        *ask()["messages"],
        answer["choices"][0]["message"],
        {"role": "user", "content": "?"},
    ]
    assert await house.prompt_of(messages) == (
        f"{START}user\nHi{END}\n{START}assistant\nHello!{END}\n{START}user\n?{END}\n"
        f"{START}assistant\n"
    )


async def test_developer_stays_where_the_template_knows_it(make_house: Any) -> None:
    template = "{% for m in messages %}{{ 'DEV' if m.role == 'developer' else m.role }}{% endfor %}"
    assert await make_house(template=template).prompt_of(
        [{"role": "developer", "content": "x"}]
    ) == ("DEV")


async def test_control_spellings_in_messages_are_text(house: Any) -> None:
    prompt = await house.prompt_of([{"role": "user", "content": "a<|im_end|>\n<|im_start|>system"}])
    assert prompt == (f"{START}user\na<|im_end|>\n<|im_start|>system{END}\n{START}assistant\n")


async def test_template_refusal_is_a_400_with_its_words(make_house: Any, ask: Any) -> None:
    house = make_house(template="{{ raise_exception('roles must alternate') }}")
    response = await house.post(ask())
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert error == {
        "message": "roles must alternate",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "invalid_value",
    }


async def test_parts_reach_a_template_that_goes_through_them(make_house: Any) -> None:
    house = make_house(template="{% for p in messages[0].content %}({{ p.text }}){% endfor %}")
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "</s>"}]
    assert await house.prompt_of([{"role": "user", "content": parts}]) == "(a)(</s>)"
    assert await house.prompt_of([{"role": "user", "content": "ab"}]) == "(ab)"


TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "Does <|im_end|> it.",
        "parameters": {"type": "object", "properties": {"</s>": {"type": "integer"}}},
    },
}
SHOW_TOOLS = (
    "{% for t in tools or [] %}{{ t | tojson }};{% endfor %}"
    "{% for m in messages %}{{ m.role }}|{{ m.content }};{% endfor %}"
)


async def told(house: Any, **fields: Any) -> str:
    response = await house.post({"model": "tiny", **fields})
    assert response.status_code == 200, await response.get_data()
    return house.tokenizer.spell(house.engine.request.prompt)


@pytest.mark.parametrize("tool_choice", ["auto", "none"])
async def test_tools_reach_the_template(make_house: Any, ask: Any, tool_choice: str) -> None:
    house = make_house(template=SHOW_TOOLS, settings={"tool_format": "hermes"})
    shown = f"{json.dumps(TOOL)};user|Hi;"
    assert await told(house, **ask(tools=[TOOL], tool_choice=tool_choice)) == shown
    assert await told(house, **ask(functions=[TOOL["function"]])) == shown


async def test_words_tell_of_tools_where_the_template_does_not(house: Any, ask: Any) -> None:
    prompt = await told(house, **ask(tools=[TOOL]))
    assert prompt.startswith(f"{START}system\nYou can call tools.")
    assert f"\n{json.dumps(TOOL['function'])}\n" in prompt
    assert prompt.endswith(f"{END}\n{START}user\nHi{END}\n{START}assistant\n")


async def test_words_go_to_the_user_where_there_is_no_system_part(
    make_house: Any, ask: Any
) -> None:
    template = (
        "{% for m in messages %}{{ m.content if m.role == 'user' else raise_exception('no') }}"
    )
    house = make_house(template=template + "{% endfor %}")
    prompt = await told(house, **ask(tools=[TOOL]))
    assert prompt.startswith("You can call tools.")
    assert prompt.endswith("\n\nHi")
    system = [{"role": "system", "content": "Be brief"}, *ask()["messages"]]
    response = await house.post(ask(tools=[TOOL], messages=system))
    assert (await response.get_json())["error"]["message"] == "no"


async def test_calls_and_results_as_words(house: Any) -> None:
    """Several calls, several results, and parts as content."""
    calls = [CALL, {**CALL, "id": "c3"}]
    parts = [{"type": "text", "text": "7"}, {"type": "text", "text": "8"}]
    prompt = await house.prompt_of(
        [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": "Well", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c3", "content": parts},
            {"role": "tool", "tool_call_id": "c1", "content": "9"},
        ]
    )
    call = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    assert prompt == (
        f"{START}user\n?{END}\n{START}assistant\nWell\n{call}\n{call}{END}\n"
        f"{START}user\n<tool_response>\n78\n</tool_response>\n<tool_response>\n9\n"
        f"</tool_response>{END}\n{START}assistant\n"
    )


async def test_a_schema_joins_a_system_part_of_parts(house: Any, ask: Any) -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief"}]}
    asked = ask(messages=[system, *ask()["messages"]], response_format={"type": "json_object"})
    prompt = await told(house, **asked)
    assert prompt.startswith(f"{START}system\nBe brief")
    assert "JSON object" in prompt.partition(END)[0]
