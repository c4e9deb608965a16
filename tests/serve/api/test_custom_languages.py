"""Custom tools bound by grammars: what a random model says is of the language, say others."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from lark.exceptions import LarkError
from support.families import HERMES, VOCABULARY, Running
from support.languages import LANGUAGES, LARK, REGEX, Language
from support.real_house import random_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    engine = random_engine(VOCABULARY, rows=16)
    yield engine
    engine.stop()


@pytest.fixture
def running(make_tokenizer: Any, engine: Any) -> Running:
    return Running.of(HERMES, make_tokenizer, engine)


def asked(language: Language, running: Running, seed: int, **fields: Any) -> dict[str, Any]:
    grammar = {"syntax": language.syntax, "definition": language.grammar}
    tool = {"name": "say", "format": {"type": "grammar", "grammar": grammar}}
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "custom", "custom": tool}],
        "tool_choice": {"type": "custom", "custom": {"name": "say"}},
        "logit_bias": running.bias if seed % 2 else {},
        "temperature": 2,
        "max_tokens": 150,
        "seed": seed,
        "n": 4,
        **fields,
    }


async def inputs(running: Running, language: Language, seeds: range) -> list[str]:
    """The finished inputs of answers, plain and streamed, all of the language."""
    async with running.house() as house:
        answers = await asyncio.gather(
            *(
                house.choices(asked(language, running, seed, stream=stream))
                for seed in seeds
                for stream in (False, True)
            )
        )
    found: list[str] = []
    for choice in (choice for choices in answers for choice in choices):
        assert choice["message"]["content"] is None
        assert choice["finish_reason"] in ("tool_calls", "length")
        if choice["finish_reason"] == "tool_calls":
            (call,) = choice["message"]["tool_calls"]
            assert (call["type"], call["custom"]["name"]) == ("custom", "say")
            found.append(call["custom"]["input"])
    # Hermes' end of a call stands on a line of its own, but belongs to no input.
    for text in found:
        language.judge(text)
    return found


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: f"{each.syntax}: {each.name}")
async def test_every_finished_input_is_of_the_language(
    running: Running, language: Language
) -> None:
    assert await inputs(running, language, range(2))


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: f"{each.syntax}: {each.name}")
async def test_so_it_is_for_many_seeds(running: Running, language: Language) -> None:
    assert len(set(await inputs(running, language, range(2, 14)))) > 1


def test_there_are_enough_languages() -> None:
    assert len(LARK) >= 15
    assert len(REGEX) >= 15


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "1+"),
        (1, "select * from users where id"),
        (3, "(]"),
        (4, '{"a":}'),
        (7, "aab"),
        (len(LARK), "2024-02-30"),
        (len(LARK) + 4, "256.1.1.1"),
        (len(LARK) + 12, "MIIII"),
    ],
)
def test_the_judges_can_say_no(number: int, text: str) -> None:
    with pytest.raises((LarkError, AssertionError)):
        LANGUAGES[number].judge(text)
