"""Forms of answers by the names that other servers have for them, on a model of random weights."""

import asyncio
import json
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from support.byte_tokens import allows, byte_compiler
from support.families import FAMILIES, HERMES, TEMPLATE, VOCABULARY, Family, Running
from support.real_house import random_engine

from serve.api.asking.content_coding import Body
from serve.api.asking.conversation import ConversationRenderer
from serve.api.asking.draft import Drafter
from serve.api.settings import ApiSettings
from serve.api.wire.guided import StructuredOutputs
from serve.engine.types import EngineInfo
from serve.grammar.compiler import Grammar
from serve.grammar.custom import one_of
from serve.text.calls.detect import choose
from serve.text.calls.grammar import inner_regex
from serve.text.calls.tools import Choice, FunctionTool
from serve.text.render import Renderer
from serve.text.template import ChatTemplate

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 3}, "odd": {"type": "boolean"}},
    "required": ["name", "odd"],
    "additionalProperties": False,
}
REGEX = r"[a-cé]{2}[0-9]?"
CHOICE = ["yes", "no\n", "né/2.*", 'a "b" \\', "yes!", "<tool_call>"]
LARK = '?start: "(" item ("," item)* ")"\nitem: /[a-c]/ | start\n'
EBNF = 'root ::= "(" item\n  ("," item)* ")"\nitem ::= [a-c] | root # nested\n'
NESTED = re.compile(r"\((?:[a-c]|\(|\)|,)*\)")


def is_json(text: str) -> None:
    jsonschema.validate(json.loads(text), SCHEMA)


def is_object(text: str) -> None:
    assert isinstance(json.loads(text), dict)


def matches(text: str) -> None:
    assert re.fullmatch(REGEX, text)


def is_chosen(text: str) -> None:
    assert text in CHOICE


def is_nested(text: str) -> None:
    """By a parser of its own: `x` stands for what has been read."""
    assert NESTED.fullmatch(text)
    while text != (less := re.sub(r"\([a-cx](,[a-cx])*\)", "x", text)):
        text = less
    assert text == "x"


FORMS: dict[str, tuple[str, Any, Callable[[str], None]]] = {
    "schema": ("json", SCHEMA, is_json),
    "schema as text": ("json", json.dumps(SCHEMA), is_json),
    "regex": ("regex", REGEX, matches),
    "choice": ("choice", CHOICE, is_chosen),
    "Lark": ("grammar", LARK, is_nested),
    "EBNF": ("grammar", EBNF, is_nested),
}
NAMED = [
    *(({f"guided_{name}": form}, judge) for name, form, judge in FORMS.values()),
    *(({"structured_outputs": {name: form}}, judge) for name, form, judge in FORMS.values()),
    ({"structured_outputs": {"json_object": True, "disable_any_whitespace": False}}, is_object),
]
IDS = [
    *(f"guided_{form[0]}, {name}" for name, form in FORMS.items()),
    *(f"structured_outputs, {name}" for name in FORMS),
    "structured_outputs, json_object",
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    engine = random_engine(VOCABULARY, rows=16)
    yield engine
    engine.stop()


@pytest.fixture
def running(make_tokenizer: Any, engine: Any) -> Running:
    return Running.of(HERMES, make_tokenizer, engine)


def body(**fields: Any) -> dict[str, Any]:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
    return {**asked, "temperature": 2, **fields}


@pytest.mark.parametrize(("form", "judge"), NAMED, ids=IDS)
async def test_answers_have_the_form(
    running: Running, form: dict[str, Any], judge: Callable[[str], None]
) -> None:
    """guided_json, guided_regex, guided_choice, guided_grammar, structured_outputs."""
    async with running.house() as house:
        asked = [
            body(**form, n=3, seed=seed, stream=stream, logit_bias=running.bias)
            for seed in range(3)
            for stream in (False, True)
        ]
        found = await asyncio.gather(*(house.choices(each) for each in asked))
        choices = [choice for each in found for choice in each]
    whole = {c["message"]["content"] for c in choices if c["finish_reason"] == "stop"}
    assert {choice["finish_reason"] for choice in choices} <= {"stop", "length"}
    for text in whole:
        judge(text)
    assert len(whole) > 1


async def test_without_a_form_answers_are_of_none(running: Running) -> None:
    """What nulls and a text's format ask for."""
    empty = dict.fromkeys(("guided_json", "guided_regex", "structured_outputs", "guided_choice"))
    async with running.house() as house:
        asked = body(**empty, response_format={"type": "text"}, seed=1, n=2)
        choices = await house.choices(asked)
    for choice in choices:
        with pytest.raises(AssertionError):
            is_chosen(choice["message"]["content"])


# --- beside tools ---------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "f", "strict": True, "parameters": SCHEMA}}


@pytest.fixture(params=FAMILIES, ids=lambda family: family.tool_format)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.mark.parametrize("regex", [REGEX, r"(?s:.*)"], ids=["narrow", "any text"])
async def test_beside_tools_there_is_a_call_or_the_form(
    make_tokenizer: Any, engine: Any, family: Family, regex: str
) -> None:
    """Also where the form could spell what begins a call: no call is of what no tool takes."""
    running = Running.of(family, make_tokenizer, engine)
    async with running.house() as house:
        asked = [
            body(guided_regex=regex, tools=[TOOL], seed=seed, n=4, logit_bias=running.bias)
            for seed in range(6)
        ]
        found = await asyncio.gather(*(house.choices(each) for each in asked))
    kinds: set[str] = set()
    for choice in (choice for choices in found for choice in choices):
        kinds.add(choice["finish_reason"])
        if choice["finish_reason"] == "stop":
            assert re.fullmatch(regex, choice["message"]["content"] or "")
        if choice["finish_reason"] == "tool_calls":
            assert choice["message"]["content"] is None
            for call in choice["message"]["tool_calls"]:
                is_json(call["function"]["arguments"])
    assert kinds & {"stop", "tool_calls"}


@pytest.mark.parametrize("grammar", [LARK, EBNF], ids=["Lark", "EBNF"])
async def test_a_grammar_stands_beside_calls_that_begin_with_a_control_token(
    make_tokenizer: Any, engine: Any, family: Family, grammar: str
) -> None:
    running = Running.of(family, make_tokenizer, engine)
    asked = body(guided_grammar=grammar, tools=[TOOL], n=8, seed=1, logit_bias=running.bias)
    # Markers of these formats are ordinary characters.
    in_words = family.tool_format in {"generic", "llama3", "gemma3", "functools"}
    async with running.house() as house:
        if in_words:
            response = await house.post(asked)
            error = (await response.get_json())["error"]
            assert (response.status_code, error["param"]) == (400, "tools")
            assert "could say what begins a call" in error["message"]
            asked["tool_choice"] = "none"
        choices = await house.choices(asked)
    whole = [c for c in choices if c["finish_reason"] == "stop"]
    for choice in whole:
        is_nested(choice["message"]["content"])
    assert whole or not in_words


@pytest.mark.parametrize("regex", ["(?s:.*)", one_of(["x <tool_call>", "hello"])])
def test_a_regular_expression_beside_tools_spells_no_call(regex: str) -> None:
    """Where a call begins with ordinary characters, that could be said in the answer's text."""
    tools = [FunctionTool("f")]
    text = choose("generic", "").grammar(tools, Choice(), {}, inner_regex(regex))
    constraint = byte_compiler().begin().compile(Grammar.lark(text))
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    assert allows(constraint, "hello")
    assert allows(constraint, call)
    for spelled in ("x <tool_call>", f"x {call}", "<tool_call>", "hello\n" + call):
        assert not allows(constraint, spelled)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "param", "told"),
    [
        ({"guided_regex": "ab("}, "guided_regex", "Invalid regular expression: character 3: "),
        ({"guided_grammar": 'start: "a"\nx: <b>'}, "guided_grammar",
         "Invalid Lark grammar: line 2, column 4: control tokens cannot"),
        ({"structured_outputs": {"grammar": 'root ::= "a"\n  | b'}}, "structured_outputs.grammar",
         "Invalid EBNF grammar: line 2, column 5: there is no rule 'b'."),
        ({"guided_json": {"properties": {"a": {"not": {}}}}}, "guided_json.properties.a.not",
         "A schema here is strict; one of 'response_format' says whether it is."),
        ({"guided_json": '{"a": }'}, "guided_json",
         "its text is no JSON object: Expecting value at line 1, column 7."),
        ({"guided_json": "3"}, "guided_json", "expected an object, but got an integer"),
        ({"guided_regex": "a", "guided_choice": ["b"]}, "guided_choice",
         "'guided_regex' and 'guided_choice' each say what the answer must be: send one of them."),
        ({"structured_outputs": {}}, "structured_outputs",
         "send one of 'json', 'regex', 'choice', 'grammar', 'json_object'."),
        ({"structured_outputs": {"regex": "a", "structural_tag": "x"}},
         "structured_outputs.structural_tag", "This server does not honour it yet"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_at_its_place(
    house: Any, ask: Any, form: dict[str, Any], param: str, told: str
) -> None:
    response = await house.post(ask(**form))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert told in error["message"]


@pytest.mark.parametrize(
    "form",
    [
        {"guided_regex": "a" * 3_000},
        {"guided_choice": ["a" * 1_000] * 3},
        {"guided_grammar": 'start: "a"\n' + "//" * 1_500},
        {"guided_grammar": 'root ::= "a"\n' + "##" * 1_500},
        {"guided_json": {"description": "a" * 3_000}},
        {"guided_json": json.dumps({"description": "a" * 3_000})},
    ],
    ids=["regex", "choice", "Lark", "EBNF", "schema", "schema as text"],
)
async def test_one_that_is_too_large_is_refused(
    make_house: Any, ask: Any, form: dict[str, Any]
) -> None:
    house = make_house(settings={"max_grammar_bytes": 2_000})
    response = await house.post(ask(**form))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"]) == (400, next(iter(form)))
    assert "2,000 are allowed" in error["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("form", "param"),
    [
        *(({f"guided_{name}": form}, f"guided_{name}") for name, form, _ in FORMS.values()),
        ({"structured_outputs": {"choice": CHOICE}}, "structured_outputs"),
    ],
    ids=[*FORMS, "structured_outputs"],
)
async def test_an_answer_that_cannot_go_on_names_the_field(
    running: Running, form: dict[str, Any], param: str, stream: bool
) -> None:
    """Every byte is banned: only `logit_bias` and the form together leave nothing."""
    bans = {str(token): -100 for token in range(256)}
    async with running.house() as house:
        response = await house.post(body(**form, logit_bias=bans, stream=stream))
        data = (await response.get_data()).decode()
    error = json.loads(data.split("data: ")[-1])["error"]
    assert (error["param"], error["code"]) == (param, "invalid_value")
    assert "logit_bias bans every token" in error["message"]


# --- the prompt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (
            {"guided_choice": ["yes", "no, no"]},
            "exactly as it stands here, and nothing else:\nyes\nno, no[[<|im_end|>]]",
        ),
        (
            {"structured_outputs": {"json": '{"type": "null"}'}},
            'under this JSON schema, and nothing else.\n{"type":"null"}[[<|im_end|>]]',
        ),
        ({"structured_outputs": {"json_object": True}}, "Answer with one JSON object on one line"),
        ({"guided_regex": "yes"}, ""),
        ({"guided_grammar": 'start: "yes"'}, ""),
    ],
    ids=["choice", "schema", "json_object", "regex", "grammar"],
)
async def test_what_the_model_is_told(
    make_house: Any, ask: Any, form: dict[str, Any], told: str
) -> None:
    house, silent = make_house(), make_house(settings={"schema_in_prompt": False})
    for each in (house, silent):
        await each.post(ask())
        await each.post(ask(**form))
    free, shown = (house.tokenizer.spell(g.request.prompt) for g in house.engine.generations)
    assert told in shown
    assert (shown == free) == (not told)
    without = [generation.request.prompt for generation in silent.engine.generations]
    assert without[0] == without[1]


def test_what_is_asked_for_travels_between_processes_and_is_not_kept(make_tokenizer: Any) -> None:
    """Long bodies are drafted in another process; an answer keeps no form as long as it runs."""
    tokenizer = make_tokenizer()
    conversations = ConversationRenderer(
        Renderer(tokenizer, ChatTemplate(TEMPLATE)), choose("hermes", ""), schema_in_prompt=True
    )
    info = EngineInfo(512, VOCABULARY, "fp_test")
    drafter = Drafter(conversations, info, frozenset([257]), ApiSettings("tiny"))
    for fields, _ in NAMED:
        ((name, _),) = fields.items()
        asked = json.dumps(body(**fields, bad_words=["x" * 64])).encode()
        draft = drafter.draft(Body(asked), "c")
        sent = pickle.loads(pickle.dumps(draft))
        assert sent == draft
        assert sent.bad_words == ["x" * 64]
        assert sent.form
        assert sent.form.param.startswith(name)
        assert sent.wire.constrained_by == name
        assert sent.wire.structured_outputs in (None, StructuredOutputs.model_construct())
        kept = [
            getattr(sent.wire, field) for field in ("guided_json", "guided_choice", "bad_words")
        ]
        assert not any([*kept, sent.wire.guided_regex, sent.wire.guided_grammar])
