"""Conversations with calls, rendered by templates that expect what the published ones expect."""

import json

import jinja2
import pytest
from support.published_text import closed_up, renderer, spelled, tokenizer

from serve.text.calls.detect import FORMATS
from serve.text.calls.history import TemplateInput
from serve.text.calls.tools import CustomTool, FunctionTool, Tool

TOOLS: list[Tool] = [
    FunctionTool("get_weather", {"type": "object", "properties": {"city": {}}}, description="Sky."),
    CustomTool("sql", regex="select .*", description="Asks."),
]
ARGUMENTS = '{"city": "Zürich", "days": [1.0, null]}'
CONVERSATION: list[dict[str, object]] = [
    {"role": "user", "content": "Hi"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_AbCdEf012345",
                "type": "function",
                "function": {"name": "get_weather", "arguments": ARGUMENTS},
            },
            {"id": "call_2", "type": "custom", "custom": {"name": "sql", "input": 'a "b"\n'}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "rows"}]},
    {"role": "tool", "tool_call_id": "call_AbCdEf012345", "content": "sunny"},
    {"role": "assistant", "content": "Sunny."},
]

QWEN = """\
{%- for m in messages %}
    {%- if m.role == 'assistant' and m.tool_calls %}
        {{- '<|im_start|>assistant' }}
        {%- if m.content %}{{- '\\n' + m.content }}{%- endif %}
        {%- for c in m.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' + c.function.name + '", "arguments": ' }}
            {{- c.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif m.role == 'tool' %}
        {{- '<tool_response>\\n' + words(m) + '\\n</tool_response>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}"""
LLAMA = """\
{%- for m in messages %}
    {%- if 'tool_calls' in m %}
        {%- if m.tool_calls | length != 1 %}{{- raise_exception('one call') }}{%- endif %}
        {{- '{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' }}
        {{- m.tool_calls[0].function.arguments | tojson }}{{- '}<|eot_id|>' }}
    {%- elif m.role == 'tool' %}
        {{- '[ipython]' + words(m) + '<|eot_id|>' }}
    {%- else %}
        {{- '[' + m.role + ']' + m.content + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}"""
MISTRAL = """\
{%- for m in messages %}
    {%- if m.tool_calls is defined %}
        {{- '[TOOL_CALLS] [' }}
        {%- for c in m.tool_calls %}
            {%- if c.id | length != 9 %}{{- raise_exception('ids of 9') }}{%- endif %}
            {{- (c.function | tojson)[:-1] + ', "id": "' + c.id + '"}' }}
            {%- if not loop.last %}{{- ', ' }}{%- endif %}
        {%- endfor %}
        {{- ']</s>' }}
    {%- elif m.role == 'tool' %}
        {%- if m.tool_call_id | length != 9 %}{{- raise_exception('ids of 9') }}{%- endif %}
        {{- '[TOOL_RESULTS] {"call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- '[' + m.role + ']' + m.content }}
    {%- endif %}
{%- endfor %}"""
# A template without a role for tools, whose users and assistants take turns.
TURNS = """\
{%- set at = 1 if messages[0].role == 'system' else 0 %}
{%- for m in messages %}
    {%- if loop.index0 >= at and (m.role == 'user') != ((loop.index0 - at) % 2 == 0) %}
        {{- raise_exception('take turns') }}
    {%- endif %}
    {{- '<' + m.role + '>' }}
    {%- if m.tools is defined %}{{- '<|tool|>' + m.tools + '<|/tool|>' }}{%- endif %}
    {%- if m.content is string %}
        {{- m.content }}
    {%- else %}
        {%- for part in m.content %}{{- part.text }}{%- endfor %}
    {%- endif %}
{%- endfor %}"""
# Writes each role between bars, whatever it is.
PHI = """\
{%- for m in messages %}
    {{- '<|' + m.role + '|>' + words(m) }}
    {%- if m.tools is defined %}{{- '<|tool|>' + m.tools + '<|/tool|>' }}{%- endif %}
    {{- '<|end|>\n' }}
{%- endfor %}"""
# Writes the first call of a message only, and calls its result after the last name.
HARMONY = """\
{%- set last = namespace(name=none) %}
{%- for m in messages %}
    {%- if m.tool_calls %}
        {%- set last.name = m.tool_calls[0].function.name %}
        {{- '<|start|>assistant to=functions.' + last.name }}
        {{- '<|channel|>commentary json<|message|>' }}
        {{- m.tool_calls[0].function.arguments | tojson }}{{- '<|call|>' }}
    {%- elif m.role == 'tool' %}
        {{- '<|start|>functions.' + last.name + ' to=assistant<|channel|>commentary<|message|>' }}
        {{- words(m) | tojson }}{{- '<|end|>' }}
    {%- else %}
        {{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}
    {%- endif %}
{%- endfor %}"""


def raise_exception(message: str) -> None:
    raise AssertionError(message)


def words(message: dict[str, object]) -> object:
    content = message["content"]
    return content if isinstance(content, str) else content[0]["text"]


def rendered(template: str, given: TemplateInput) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.globals["words"] = words
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    text = environment.from_string(template).render(
        messages=given.messages, tools=given.tools, raise_exception=raise_exception
    )
    for character, spelling in given.own.items():
        text = text.replace(character, spelling)
    return text


def prompt(name: str, template: str, *, tools: list[Tool] | None = None) -> str:
    return rendered(template, FORMATS[name].for_template(CONVERSATION, tools or []))


SQL = r'{"input": "a \"b\"\n"}'


def test_hermes_gets_objects() -> None:
    assert prompt("hermes", QWEN) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant"
        '\n<tool_call>\n{"name": "get_weather", "arguments": ' + ARGUMENTS + "}\n</tool_call>"
        '\n<tool_call>\n{"name": "sql", "arguments": ' + SQL + "}\n</tool_call><|im_end|>\n"
        "<tool_response>\nrows\n</tool_response>\n<tool_response>\nsunny\n</tool_response>\n"
        "<|im_start|>assistant\nSunny.<|im_end|>\n"
    )


def test_llama_gets_one_call_and_its_result_at_a_time() -> None:
    assert prompt("llama3", LLAMA) == (
        "[user]Hi<|eot_id|>"
        '{"name": "get_weather", "parameters": ' + ARGUMENTS + "}<|eot_id|>[ipython]sunny<|eot_id|>"
        '{"name": "sql", "parameters": ' + SQL + "}<|eot_id|>[ipython]rows<|eot_id|>"
        "[assistant]Sunny.<|eot_id|>"
    )


@pytest.mark.parametrize("name", ["mistral", "mistral-ids", "mistral-args"])
def test_mistral_gets_ids_of_nine(name: str) -> None:
    given = FORMATS[name].for_template(CONVERSATION, [])
    ids = [call["id"] for call in given.messages[1]["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(len(id_) == 9 and id_.isalnum() for id_ in ids)
    assert [given.messages[2]["tool_call_id"], given.messages[3]["tool_call_id"]] == ids[::-1]
    assert rendered(MISTRAL, given) == (
        '[user]Hi[TOOL_CALLS] [{"name": "get_weather", "arguments": '
        f'{ARGUMENTS}, "id": "{ids[0]}"}}, {{"name": "sql", "arguments": {SQL}, "id": "{ids[1]}"}}]'
        f'</s>[TOOL_RESULTS] {{"call_id": "{ids[1]}"}}[/TOOL_RESULTS]'
        f'[TOOL_RESULTS] {{"call_id": "{ids[0]}"}}[/TOOL_RESULTS][assistant]Sunny.'
    )


def test_an_id_of_nine_stays() -> None:
    call = {"id": "aB3456789", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    given = FORMATS["mistral"].for_template([{"role": "assistant", "tool_calls": [call]}], [])
    assert given.messages[0]["tool_calls"][0]["id"] == "aB3456789"


def test_gpt_oss_gets_each_call_before_its_result() -> None:
    assert prompt("gpt-oss", HARMONY) == (
        "<|start|>user<|message|>Hi<|end|>"
        "<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>"
        f"{ARGUMENTS}<|call|><|start|>functions.get_weather to=assistant<|channel|>commentary"
        '<|message|>"sunny"<|end|>'
        "<|start|>assistant to=functions.sql<|channel|>commentary json<|message|>"
        f"{SQL}<|call|><|start|>functions.sql to=assistant<|channel|>commentary"
        '<|message|>"rows"<|end|><|start|>assistant<|message|>Sunny.<|end|>'
    )


@pytest.mark.parametrize(
    ("words", "thoughts", "told"),
    [
        ("", "Hm.", ("", "Hm.")),
        ("Well.", "", ("Well.", "")),
        ("Well.", "Hm.", ("", "Hm.\n\nWell.")),
        ([{"type": "text", "text": "Well."}], "Hm.", ("", "Hm.\n\nWell.")),
    ],
)
def test_gpt_oss_gets_what_comes_before_a_call_once(
    words: object, thoughts: str, told: tuple[str, str]
) -> None:
    """Its template takes a message's words or its thoughts, and only the first call's."""
    called = {**CONVERSATION[1], "content": words, "thinking": thoughts}
    messages = [CONVERSATION[0], called, *CONVERSATION[2:]]
    shown = FORMATS["gpt-oss"].for_template(messages, []).messages
    assert (shown[1]["content"], shown[1]["thinking"]) == told
    assert shown[3]["content"] == ""
    assert "thinking" not in shown[3]
    assert [len(shown[at]["tool_calls"]) for at in (1, 3)] == [1, 1]


def test_gpt_oss_gets_words_and_thoughts_of_an_answer() -> None:
    answer = {"role": "assistant", "content": "Hi", "thinking": "Hm."}
    call = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    assert FORMATS["gpt-oss"].for_template([answer, call], []).messages[0] == answer


def test_generic_says_it_all_in_words() -> None:
    got = prompt("generic", TURNS, tools=TOOLS)
    assert got.startswith("<system>You can call tools.")
    assert '\n{"name": "get_weather", "description": "Sky."' in got
    assert "Asks.\\nThis tool takes plain text." in got
    assert "this regular expression: select .*" in got
    assert got.endswith(
        '<user>Hi<assistant><tool_call>\n{"name": "get_weather", "arguments": '
        + ARGUMENTS
        + '}\n</tool_call>\n<tool_call>\n{"name": "sql", "arguments": '
        + SQL
        + "}\n</tool_call><user><tool_response>\nrows\n</tool_response>\n"
        "<tool_response>\nsunny\n</tool_response><assistant>Sunny."
    )
    assert "You can call tools" not in prompt("generic", TURNS)


def test_gemma_gets_blocks() -> None:
    got = prompt("gemma3", TURNS, tools=TOOLS)
    assert got.startswith("<system>You have access to functions")
    assert got.endswith(
        '<assistant>```tool_code\n{"name": "get_weather", "parameters": '
        + ARGUMENTS
        + '}\n{"name": "sql", "parameters": '
        + SQL
        + "}\n```<user>```tool_output\nrows\n```\n```tool_output\nsunny\n```<assistant>Sunny."
    )


def test_phi_gets_tools_in_the_system_message() -> None:
    got = prompt("phi4-mini", PHI, tools=TOOLS)
    assert got.startswith("<|system|>You are a helpful assistant with some tools.<|tool|>")
    assert '<|tool|>[{"name": "get_weather", "description": "Sky."' in got
    assert '<|assistant|><|tool_call|>[{"name": "get_weather", "arguments": {"city"' in got
    assert "]<|/tool_call|><|end|>\n<|tool_response|>rows<|end|>\n<|tool_response|>sunny" in got
    assert "<|tool|>" not in prompt("phi4-mini", PHI)


def test_functools_gets_a_list_in_words() -> None:
    got = prompt("functools", TURNS)
    assert '<assistant>functools[{"name": "get_weather", "arguments": {"city"' in got
    assert '<user>{"name": "sql", "result": "rows"}\n{"name": "get_weather", "result"' in got


@pytest.mark.parametrize("name", ["generic", "gemma3"])
def test_instructions_join_a_system_message(name: str) -> None:
    for content in ("Be kind.", [{"type": "text", "text": "Be kind."}]):
        messages = [{"role": "system", "content": content}, {"role": "user", "content": "Hi"}]
        got = rendered(TURNS, FORMATS[name].for_template(messages, TOOLS))
        assert got.startswith("<system>Be kind.")
        assert got.count("<system>") == 1
        assert "get_weather" in got


@pytest.mark.parametrize("name", FORMATS)
def test_templates_that_know_tools_get_them(name: str) -> None:
    given = FORMATS[name].for_template([{"role": "user", "content": "Hi"}], TOOLS)
    shown = json.dumps([given.tools, list(given.messages)])
    assert "get_weather" in shown
    assert "select .*" in shown
    assert (given.tools is None) == (name in ("generic", "gemma3"))
    assert FORMATS[name].for_template([{"role": "user", "content": "Hi"}], []).tools is None


@pytest.mark.parametrize("name", FORMATS)
def test_without_calls_and_tools_nothing_changes(name: str) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "ann"},
        {"role": "assistant", "content": "Ho"},
    ]
    assert list(FORMATS[name].for_template(messages, []).messages) == messages


def test_legacy_calls_are_answered_in_order() -> None:
    def call(arguments: str) -> dict[str, object]:
        return {"role": "assistant", "function_call": {"name": "f", "arguments": arguments}}

    messages = [
        call('{"a": 1}'),
        {"role": "function", "name": "f", "content": "one"},
        call('{"a": 2}'),
        {"role": "function", "name": "f", "content": "two"},
    ]
    assert rendered(LLAMA, FORMATS["llama3"].for_template(messages, [])) == (
        '{"name": "f", "parameters": {"a": 1}}<|eot_id|>[ipython]one<|eot_id|>'
        '{"name": "f", "parameters": {"a": 2}}<|eot_id|>[ipython]two<|eot_id|>'
    )


def test_arguments_that_were_cut_off_stay_text() -> None:
    function = {"name": "f", "arguments": '{"a": 1'}
    call = {"id": "c", "type": "function", "function": function}
    given = FORMATS["hermes"].for_template([{"role": "assistant", "tool_calls": [call]}], [])
    assert given.messages[0]["tool_calls"] == [call]


def test_a_result_learns_the_name_it_answers() -> None:
    # Hermes' template raises without.
    given = FORMATS["hermes"].for_template(CONVERSATION, [])
    assert [message.get("name") for message in given.messages[2:4]] == ["sql", "get_weather"]


def test_an_empty_list_of_calls_is_none() -> None:
    message = {"role": "assistant", "content": "Ho", "tool_calls": []}
    given = FORMATS["llama3"].for_template([message], [])
    assert given.messages == [{"role": "assistant", "content": "Ho"}]


# --- markers -------------------------------------------------------------------------------


SAYS_MARKERS = "<tool_call> </tool_call> <|tool_call|> <|/tool_call|> [TOOL_CALLS] [CALL_ID]"


def with_markers() -> list[dict[str, object]]:
    """A conversation whose every text spells the markers of formats."""
    arguments = json.dumps({"say": SAYS_MARKERS})
    call = {"id": "a", "type": "function", "function": {"name": "get", "arguments": arguments}}
    return [
        {"role": "user", "content": SAYS_MARKERS},
        {"role": "assistant", "content": SAYS_MARKERS, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": SAYS_MARKERS},
    ]


@pytest.mark.parametrize(
    ("model", "name", "markers"),
    [
        ("phi4_mini", "phi4-mini", {"<|tool_call|>": 1, "<|/tool_call|>": 1}),
        ("qwen3", "generic", {"<tool_call>": 1, "</tool_call>": 1}),
    ],
)
def test_markers_of_the_format_are_tokens_and_those_of_messages_are_text(
    model: str, name: str, markers: dict[str, int]
) -> None:
    given = FORMATS[name].for_template(with_markers(), [])
    ids = renderer(model).render(given.messages, given.tools, own=given.own)
    controls = tokenizer(model).controls
    assert {marker: ids.count(controls[marker]) for marker in markers} == markers
    assert closed_up(spelled(model, ids)).count(closed_up(SAYS_MARKERS)) == 4


def test_hints_show_the_model_its_own_tokens() -> None:
    tools = [CustomTool("say", description=SAYS_MARKERS)]
    user = {"role": "user", "content": SAYS_MARKERS}
    given = FORMATS["phi4-mini"].for_template([user], tools)
    ids = renderer("phi4_mini").render(given.messages, given.tools, own=given.own)
    controls = tokenizer("phi4_mini").controls
    assert ids.count(controls["<|tool_call|>"]) == ids.count(controls["<|/tool_call|>"]) == 1


def test_a_conversation_with_every_odd_character_loses_the_markers_only() -> None:
    every = "".join(map(chr, [*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF8FF)]))
    messages = [{"role": "user", "content": every}, *CONVERSATION[1:]]
    given = FORMATS["phi4-mini"].for_template(messages, [])
    assert len(given.own) == 1
    whole = rendered(PHI, given)
    assert "<|tool_call|>[" in whole
    assert "]<|/tool_call|>" in whole


def test_an_escape_in_arguments_becomes_no_marker() -> None:
    call = {"name": "get", "arguments": r'{"\ufdd0": "\ufdd1"}'}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "function_call": call},
    ]
    given = FORMATS["hermes"].for_template(messages, [])
    assert len(given.own) == 2
    assert not {"\ufdd0", "\ufdd1"} & set(given.own)
