"""What is trained on is what the server renders."""

import random

import pytest

from model.tokenizer.sentence_piece import SentencePieceTokenizer
from serve.api.asking.answer_schema import answer_schema
from serve.api.wire.request import ChatRequest
from serve.text.calls.detect import detect
from serve.text.calls.history import with_system
from serve.text.render import Renderer
from serve.text.template import ChatTemplate
from tools.bundled_data.chat_format import TEMPLATE, document, response_format
from tools.bundled_data.conversations import ALL_SKILLS, Conversation, conversation
from tools.bundled_data.grammar import Split
from tools.bundled_data.judges import exactly

SOURCE = TEMPLATE.read_text()
OPEN = ChatTemplate(SOURCE)
CLOSED = ChatTemplate("{%- set enable_thinking = false -%}" + SOURCE)


def prompt(tokenizer: SentencePieceTokenizer, item: Conversation) -> list[int]:
    """The prompt that the server makes of all but the last answer."""
    messages = list(item.messages[:-1])
    if item.schema is not None:
        asked = {"model": "m", "messages": messages}
        asked["response_format"] = response_format(item.schema)
        schema = answer_schema(ChatRequest.model_validate(asked).response_format)
        assert schema is not None
        messages = with_system(messages, schema.instructions)
    told = detect(SOURCE).for_template(messages, ())
    return Renderer(tokenizer, CLOSED if item.closed else OPEN).render(
        told.messages, item.tools or None, own=told.own
    )


@pytest.mark.parametrize("skill", ALL_SKILLS)
def test_an_answer_follows_the_servers_prompt(
    tokenizer: SentencePieceTokenizer, skill: str
) -> None:
    rng = random.Random(skill)
    for number in range(20):
        item = conversation(rng, list(Split)[number % 2], skill)
        found = document(tokenizer, item)
        before = prompt(tokenizer, item)
        assert found.ids[: len(before)] == before
        # What is learnt of the last turn begins where the prompt ends.
        last = [at for at, turn in enumerate(found.turns) if turn == found.turns[-1]]
        learnt = [at for at in last if found.answers[at]]
        assert learnt[0] == len(before)
        assert found.ids[learnt[-1]] == tokenizer.controls["<|im_end|>"]


def test_the_tools_are_those_of_the_hermes_format() -> None:
    assert detect(SOURCE).name == "hermes"


def item_of(messages: list[dict[str, str]], thoughts: list[str | None]) -> Conversation:
    return Conversation(
        tuple(messages), tuple(thoughts), (), None, closed=False, skill="x", judge=exactly("x")
    )


HI = {"role": "user", "content": "Hi"}


def learnt_text(tokenizer: SentencePieceTokenizer, item: Conversation) -> str:
    found = document(tokenizer, item)
    learnt = [token for token, answer in zip(found.ids, found.answers, strict=True) if answer]
    return "".join(tokenizer.token_text(token) for token in learnt)


def test_only_answers_are_learnt(tokenizer: SentencePieceTokenizer) -> None:
    answer = {"role": "assistant", "content": "Hello"}
    system = {"role": "system", "content": "Be kind."}
    item = item_of([system, HI, answer, HI, answer], [None] * 5)
    assert learnt_text(tokenizer, item) == "Hello<|im_end|>Hello<|im_end|>"


def test_a_thought_is_learnt_with_its_answer(tokenizer: SentencePieceTokenizer) -> None:
    item = item_of([HI, {"role": "assistant", "content": "12"}], [None, "5 + 7"])
    assert learnt_text(tokenizer, item) == "<think>\n5 + 7\n</think>\n\n12<|im_end|>"


def test_an_answer_whose_thought_is_gone_is_not_learnt(tokenizer: SentencePieceTokenizer) -> None:
    first, second = {"role": "assistant", "content": "12"}, {"role": "assistant", "content": "Bye"}
    item = item_of([HI, first, HI, second], [None, "5 + 7", None, None])
    assert learnt_text(tokenizer, item) == "Bye<|im_end|>"
    assert "<think>" not in {tokenizer.token_text(token) for token in document(tokenizer, item).ids}


TOOL = {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {}}}


def test_the_template_in_full() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    text = OPEN.render(
        [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "Mara", "content": "Hi"},
            {"role": "assistant", "content": "<think>\nOld.\n</think>\n\nHello"},
            {"role": "user", "content": "Call"},
            {"role": "assistant", "content": "", "tool_calls": [call, call]},
            {"role": "tool", "content": "4", "tool_call_id": "c"},
            {"role": "tool", "content": "5", "tool_call_id": "c"},
            {"role": "assistant", "content": "<think>\nNew.\n</think>\n\nDone"},
        ],
        [TOOL],
    )
    assert text == (
        "<|im_start|>system\nBe brief.\n\nTools:\n<tools>\n"
        '{"type": "function", "function": {"name": "f", "description": "F.", "parameters": {}}}\n'
        "</tools>\nA call is <tool_call>\n"
        '{"name": "NAME", "arguments": {}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user name=Mara\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nCall<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n4\n</tool_response>\n"
        "<tool_response>\n5\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\nNew.\n</think>\n\nDone<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
