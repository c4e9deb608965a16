"""How much is thought, what is told of it, and prompts that end otherwise."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from serve.engine.types import GenerationRequest, TokenEvent, TokenLogprobs

TAGS = ("<think>", "</think>")
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
SWITCH = (
    TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
OPENED = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
OPENED += "{# closed by </think> #}"
# Thoughts of which the template says nothing.
NO_SWITCH = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{#</think>#}"
LEVELS = "{% if reasoning_effort %}Reasoning: {{ reasoning_effort }}{% endif %}" + NO_SWITCH
CHANNELS = "{#<|channel|><|message|>#}" + TURNS + "{{ '<|start|>assistant' }}"
HARMONY = ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>")
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1]}}, "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
TOOL = {"type": "function", "function": {"name": "f"}}


def saying(house: Any, text: str, reason: str = "stop") -> None:
    """The house's model says this, a token for each control token's spelling and each byte."""
    controls = house.tokenizer.controls
    found = re.findall("|".join(map(re.escape, controls)) + "|.", text, re.DOTALL)
    tokens: list[int] = []
    for piece in found:
        tokens += [controls[piece]] if piece in controls else piece.encode()

    def plan(request: GenerationRequest) -> Sequence[Any]:
        read = TokenLogprobs(-1.0, (0,), (-1.0,)) if request.sampling.logprobs else None
        steps = [[TokenEvent(0, token, logprobs=read)] for token in tokens]
        return [*steps, [TokenEvent(0, None, reason)]]  # pyright: ignore[reportArgumentType]

    house.engine.plan = plan


@pytest.fixture
def thinking(make_house: Any) -> Callable[..., Any]:
    """Makes a house whose model thinks between tags; keywords are settings."""

    def make(
        template: str = SWITCH, said: str = "Hi!", controls: Sequence[str] = TAGS, **settings: Any
    ) -> Any:
        house = make_house(template=template, controls=controls, settings=settings, vocab_size=2000)
        saying(house, said)
        return house

    return make


async def prompt_after(house: Any, body: dict[str, Any]) -> str:
    """What the prompt has after the user's turn."""
    response = await house.post(body)
    assert response.status_code == 200, await response.get_data()
    spelled = house.tokenizer.spell(house.engine.request.prompt)
    return spelled.split("[[<|im_end|>]]")[-1]


async def error_of(house: Any, body: dict[str, Any]) -> tuple[str, str, str]:
    response = await house.post(body)
    error = (await response.get_json())["error"]
    assert response.status_code == 400, error
    return error["param"], error["code"], error["message"]


THOUGHT = "<think>\nHm, é.\n</think>\n\nHi!"


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("controls", [TAGS, ()], ids=["tokens", "characters"])
async def test_thoughts_are_no_content(
    thinking: Any, ask: Any, controls: tuple[str, ...], shown: bool
) -> None:
    house = thinking(said=THOUGHT, controls=controls, show_reasoning=shown)
    answer = await (await house.post(ask(logprobs=True, stop="Hm"))).get_json()
    message = answer["choices"][0]["message"]
    assert message["content"] == "Hi!"
    assert message.get("reasoning_content") == ("Hm, é." if shown else None)
    assert len(answer["choices"][0]["logprobs"]["content"]) == 3
    usage = answer["usage"]
    # Eight bytes and two line ends are thought; two markers, two line ends and three letters not.
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 9
    assert usage["completion_tokens"] == 9 + (2 if controls else 15) + 2 + 3


async def test_a_stream_tells_thoughts_before_words(
    thinking: Any, ask: Any, read_stream: Any
) -> None:
    house = thinking(said=THOUGHT, show_reasoning=True)
    response = await house.post(ask(stream=True))
    *chunks, done = read_stream(await response.get_data())
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert done == "[DONE]"
    told = [next(iter(delta.items())) for delta in deltas[1:-1]]
    assert "".join(text for _, text in told) == "Hm, é.Hi!"
    assert [name for name, _ in told] == ["reasoning_content"] * 5 + ["content"] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stored_completion_keeps_what_was_shown(
    storing: Any, ask: Any, stream: bool
) -> None:
    house = storing(settings={"show_reasoning": True}, template=SWITCH, controls=TAGS)
    saying(house, THOUGHT)
    response = await house.post(ask(store=True, stream=stream))
    data = (await response.get_data()).decode()
    found = re.search("chatcmpl-[0-9A-Za-z]+", data)
    assert found
    kept = await (await house.get(f"/v1/chat/completions/{found[0]}")).get_json()
    message = kept["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hi!", "Hm, é.")


async def test_hidden_thoughts_leave_no_chunk(thinking: Any, ask: Any, read_stream: Any) -> None:
    body = ask(stream=True, stream_options={"include_usage": True})
    *chunks, usage, _ = read_stream(await (await thinking(said=THOUGHT).post(body)).get_data())
    assert "reasoning_content" not in json.dumps(chunks)
    assert len(chunks) == 1 + 3 + 1
    assert usage["usage"]["completion_tokens_details"]["reasoning_tokens"] == 9


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_that_are_cut_off_are_no_content(
    thinking: Any, ask: Any, read_stream: Any, stream: bool
) -> None:
    house = thinking()
    saying(house, "<think>Let me", "length")
    response = await house.post(ask(stream=stream))
    if stream:
        *chunks, _ = read_stream(await response.get_data())
        assert [chunk["choices"][0]["delta"] for chunk in chunks[1:]] == [{}]
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        choice = (await response.get_json())["choices"][0]
        assert choice["message"]["content"] == ""
        reason = choice["finish_reason"]
    assert reason == "length"


async def test_a_format_can_be_none(thinking: Any, ask: Any) -> None:
    house = thinking(said=THOUGHT, controls=(), reasoning_format="none")
    answer = await (await house.post(ask())).get_json()
    assert answer["choices"][0]["message"]["content"] == THOUGHT
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize(
    ("template", "ending"),
    [
        (SWITCH, "[[<|im_start|>]]assistant\n[[<think>]]\n\n[[</think>]]\n\n"),
        (NO_SWITCH, "[[<|im_start|>]]assistant\n[[<think>]]\n\n[[</think>]]\n\n"),
        (OPENED, "[[<|im_start|>]]assistant\n[[<think>]]\n\n[[</think>]]\n\n"),
    ],
    ids=["switch", "no switch", "opened"],
)
@pytest.mark.parametrize("controls", [TAGS, ()], ids=["tokens", "characters"])
async def test_none_closes_the_thoughts(
    thinking: Any, ask: Any, template: str, ending: str, controls: tuple[str, ...]
) -> None:
    house = thinking(template, "Hi!", controls)
    if not controls:
        ending = re.sub(r"\[\[(</?think>)\]\]", r"\1", ending)
    body = ask(reasoning_effort="none", logit_bias={"65": 1})
    assert await prompt_after(house, body) == ending
    banned = ((house.tokenizer.controls["<think>"], -100.0),) if controls else ()
    assert house.engine.request.sampling.logit_bias == ((65, 1.0), *banned)
    assert house.engine.request.constraint is None


async def test_what_looks_like_thoughts_after_none_is_content(thinking: Any, ask: Any) -> None:
    house = thinking(said="<think>a</think>b", controls=())
    answer = await (await house.post(ask(reasoning_effort="none"))).get_json()
    assert answer["choices"][0]["message"]["content"] == "<think>a</think>b"
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize(
    ("level", "tokens"), [("minimal", 3), ("low", 512), ("medium", 2048), ("xhigh", 32768)]
)
@pytest.mark.parametrize("template", [SWITCH, OPENED], ids=["undecided", "opened"])
async def test_a_level_is_a_budget(
    thinking: Any, ask: Any, template: str, level: str, tokens: int
) -> None:
    budgets = {"minimal": 3, "low": 512, "medium": 2048, "high": 8192, "xhigh": 32768}
    house = thinking(template, reasoning_budgets=budgets)
    response = await house.post(ask(reasoning_effort=level))
    assert response.status_code == 200, await response.get_data()
    opening, closing = (house.tokenizer.controls[tag] for tag in TAGS)
    matcher = house.engine.request.constraint.matcher()
    if template == SWITCH:
        matcher.accept(opening)
    for _ in range(tokens):
        assert not matcher.forced()
        matcher.accept(ord("a"))
    assert matcher.forced() == [closing]
    matcher.accept(closing)
    assert matcher.accepting


async def test_without_effort_nothing_is_bounded(thinking: Any, ask: Any) -> None:
    house = thinking(OPENED)
    assert (await house.post(ask())).status_code == 200
    assert house.engine.request.constraint is None
    assert house.engine.request.sampling.logit_bias == ()


@pytest.mark.parametrize("fields", [{"response_format": FORM}, {"tools": [TOOL]}])
@pytest.mark.parametrize("template", [SWITCH, OPENED], ids=["undecided", "opened"])
async def test_grammars_begin_after_the_thoughts(
    thinking: Any, ask: Any, template: str, fields: dict[str, Any]
) -> None:
    house = thinking(template, controls=(*TAGS, "<tool_call>", "</tool_call>"))
    assert (await house.post(ask(**fields))).status_code == 200
    opening, closing = (house.tokenizer.controls[tag] for tag in TAGS)
    matcher = house.engine.request.constraint.matcher()
    said = [ord("x"), ord("{"), closing, ord("\n")]
    said = said if template == OPENED else [opening, *said]
    assert matcher.allows(said) == len(said)
    for token in said:
        assert not matcher.finished
        matcher.accept(token)
    if "response_format" in fields:
        assert matcher.allows(list(b'{"a":1}')) == 7
        assert matcher.allows(list(b"x")) == 0


async def test_levels_reach_a_template_that_knows_them(thinking: Any, ask: Any) -> None:
    house = thinking(LEVELS)
    assert (await house.post(ask(reasoning_effort="high"))).status_code == 200
    prompt = house.tokenizer.spell(house.engine.request.prompt)
    assert prompt.startswith("Reasoning: high[[<|im_start|>]]user")
    assert house.engine.request.constraint is None
    param, code, message = await error_of(house, ask(reasoning_effort="xhigh"))
    assert (param, code) == ("reasoning_effort", "invalid_value")
    assert "'none', 'low', 'medium', 'high'; got 'xhigh'" in message


async def test_a_model_without_thoughts_has_none(house: Any, ask: Any) -> None:
    assert (await house.post(ask(reasoning_effort="none"))).status_code == 200
    param, code, message = await error_of(house, ask(reasoning_effort="low"))
    assert (param, code) == ("reasoning_effort", "invalid_value")
    assert "answers without thoughts. Supported values are: 'none'; got 'low'" in message


async def test_channels_are_read(thinking: Any, ask: Any) -> None:
    said = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi!"
    )
    house = thinking(CHANNELS, said, HARMONY, show_reasoning=True)
    answer = await (await house.post(ask())).get_json()
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hi!", "Hm.")
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


@pytest.mark.parametrize("fields", [{}, {"response_format": FORM}, {"tools": [TOOL]}])
async def test_channels_without_thoughts(thinking: Any, ask: Any, fields: dict[str, Any]) -> None:
    house = thinking(CHANNELS, "<|channel|>final<|message|>Hi!", HARMONY)
    assert (await house.post(ask(reasoning_effort="none", **fields))).status_code == 200
    matcher = house.engine.request.constraint.matcher()
    channel = house.tokenizer.controls["<|channel|>"]
    assert matcher.allows([channel, *b"final"]) == 6
    assert matcher.allows([channel, *b"analysis"]) == 1


async def test_a_form_is_in_the_final_channel(thinking: Any, ask: Any) -> None:
    house = thinking(CHANNELS, "<|channel|>final<|message|>{}", HARMONY)
    answer = await (await house.post(ask(response_format=FORM))).get_json()
    assert answer["choices"][0]["message"]["content"] == "{}"
    matcher = house.engine.request.constraint.matcher()
    controls = house.tokenizer.controls
    final = [controls["<|channel|>"], *b"final", controls["<|message|>"], *b'{"a":1}']
    assert matcher.allows(final) == len(final)
    assert matcher.allows(list(b"{")) == 0


async def test_chat_template_kwargs_reach_the_template(thinking: Any, ask: Any) -> None:
    body = ask(chat_template_kwargs={"enable_thinking": False})
    ending = await prompt_after(thinking(), body)
    assert ending == "[[<|im_start|>]]assistant\n[[<think>]]\n\n[[</think>]]\n\n"


async def test_chat_template_kwargs_are_text(thinking: Any, ask: Any) -> None:
    house = thinking("{{ words }}" + SWITCH)
    body = ask(chat_template_kwargs={"words": "<|im_end|>"})
    assert (await house.post(body)).status_code == 200
    assert house.tokenizer.spell(house.engine.request.prompt).startswith("<|im_end|>[[<|im_st")


async def test_add_generation_prompt_and_its_opposite(thinking: Any, ask: Any) -> None:
    house = thinking()
    assert await prompt_after(house, ask(add_generation_prompt=False)) == ""
    assert await prompt_after(house, ask(add_generation_prompt=True)) != ""


def continued(content: Any, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    return {"model": "tiny", "messages": messages, "continue_final_message": True, **fields}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Hello, ", "Hello, "),
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], "Hello"),
        ("<|im_end|>\ufdd0", "<|im_end|>\ufdd0"),
    ],
)
async def test_continue_final_message_goes_on_in_it(
    thinking: Any, content: Any, words: str
) -> None:
    house = thinking(said="there <think>!")
    body = continued(content, add_generation_prompt=False)
    assert await prompt_after(house, body) == f"[[<|im_start|>]]assistant\n{words}"
    answer = await (await house.post(body)).get_json()
    assert answer["choices"][0]["message"]["content"] == "there !"


async def test_a_message_on_a_channel_is_gone_on_with(thinking: Any) -> None:
    template = "{#<|channel|>#}{{ '<|channel|>final<|message|>' + messages[-1].content }}"
    house = thinking(template, "there!", HARMONY)
    answer = await (await house.post(continued("Hi "))).get_json()
    assert answer["choices"][0]["message"]["content"] == "there!"


async def test_a_template_that_leaves_the_last_message_out(thinking: Any) -> None:
    param, code, message = await error_of(thinking("x" + NO_SWITCH[:0]), continued("Hi"))
    assert (param, code) == ("messages", "invalid_value")
    assert "does not show the last message" in message


_KWARGS, _CONTINUE, _EFFORT = "chat_template_kwargs", "continue_final_message", "reasoning_effort"
_LAST = "messages[1]"
MALFORMED: list[tuple[dict[str, Any], str, str]] = [
    *(({_EFFORT: value}, _EFFORT, "invalid_type") for value in (1, True, [], {}, 0.5, ["low"])),
    *(({_EFFORT: value}, _EFFORT, "invalid_value") for value in ("", "Low", "max", "off", " low")),
    *(({_KWARGS: value}, _KWARGS, "invalid_type") for value in (1, "x", [], True)),
    ({_KWARGS: {"foo": 1}}, f"{_KWARGS}.foo", "unknown_parameter"),
    ({_KWARGS: {"messages": []}}, f"{_KWARGS}.messages", "unknown_parameter"),
    ({_KWARGS: {"tools": []}}, f"{_KWARGS}.tools", "unknown_parameter"),
    (
        {_KWARGS: {"add_generation_prompt": 1}},
        f"{_KWARGS}.add_generation_prompt",
        "unknown_parameter",
    ),
    ({_KWARGS: {"self": 1}}, f"{_KWARGS}.self", "unknown_parameter"),
    ({_KWARGS: {"range": 1}}, f"{_KWARGS}.range", "unknown_parameter"),
    ({_KWARGS: {"": 1}}, f"{_KWARGS}.", "unknown_parameter"),
    ({_KWARGS: {str(n): 1 for n in range(33)}}, _KWARGS, "object_above_max_properties"),
    (
        {_KWARGS: {"enable_thinking": True}, _EFFORT: "none"},
        f"{_KWARGS}.enable_thinking",
        "invalid_value",
    ),
    ({_CONTINUE: "yes"}, _CONTINUE, "invalid_type"),
    ({"add_generation_prompt": 1}, "add_generation_prompt", "invalid_type"),
    ({_CONTINUE: True}, "messages[0]", "invalid_value"),
    (continued("Hi", add_generation_prompt=True), _CONTINUE, "invalid_value"),
    (continued(""), _LAST, "invalid_value"),
    (continued([{"type": "refusal", "refusal": "No"}]), _LAST, "invalid_value"),
    (continued("Hi", response_format=FORM), "response_format", "invalid_value"),
    (continued("Hi", guided_regex="a"), "guided_regex", "invalid_value"),
    (continued("Hi", tools=[TOOL]), "tools", "invalid_value"),
    (continued("Hi", functions=[{"name": "f"}]), "functions", "invalid_value"),
    (continued("Hi", reasoning_effort="low"), _EFFORT, "invalid_value"),
    (
        {_EFFORT: "none", "logit_bias": {str(n): 0 for n in range(300, 1324)}},
        "logit_bias",
        "invalid_value",
    ),
]


@pytest.mark.parametrize(
    ("fields", "param", "code"), MALFORMED, ids=[str(n) for n in range(len(MALFORMED))]
)
async def test_is_refused(
    thinking: Any, ask: Any, fields: dict[str, Any], param: str, code: str
) -> None:
    house = thinking()
    assert (await error_of(house, {**ask(), **fields}))[:2] == (param, code)
    assert not house.engine.generations
