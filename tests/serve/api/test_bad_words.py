"""`bad_words` over HTTP, on a model of random weights that cooperates in nothing."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.families import CHATML, TEMPLATE, VOCABULARY
from support.real_house import RealHouse, random_engine, real_house

# Words of few letters, as they are and in pieces that hold them, begin them and end them.
PIECES = (b"ab", b"ba", b"aba", b"bab", b" b", "é".encode(), "aé".encode(), b"b a")
WORDS = ["bab", "é a", "aaa"]
LIKED = {str(token): 40.0 for token in (*b"ab ", *range(256, 256 + len(PIECES)))}


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    engine = random_engine(VOCABULARY, rows=8)
    yield engine
    engine.stop()


@pytest.fixture
def tokenizer(make_tokenizer: Any) -> Any:
    return make_tokenizer(PIECES, CHATML)


@pytest.fixture
async def real(engine: Any, tokenizer: Any) -> Any:
    ends = frozenset({tokenizer.controls["<|im_end|>"]})
    async with real_house(engine, tokenizer, TEMPLATE, ends) as house:
        yield house


def body(**fields: Any) -> dict[str, Any]:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 60}
    return {**asked, "temperature": 2, "logit_bias": LIKED, **fields}


async def texts(house: RealHouse, **fields: Any) -> list[str]:
    return [each["message"]["content"] for each in await house.choices(body(**fields))]


async def test_no_answer_has_a_bad_word(real: RealHouse) -> None:
    """bad_words: the same seeds have them all without, and none with, streamed or plain."""
    free = await asyncio.gather(*(texts(real, seed=seed, n=3) for seed in range(4)))
    assert all(any(word in text for each in free for text in each) for word in WORDS)
    for seed in range(4):
        kept = await texts(real, seed=seed, n=3, bad_words=WORDS)
        assert not [word for word in WORDS for text in kept if word in text]
        assert await texts(real, seed=seed, n=3, bad_words=WORDS, stream=True) == kept
        assert len(set(kept)) == 3
        assert all(len(text) > 40 for text in kept)


async def test_words_that_do_not_come_up_change_nothing(real: RealHouse) -> None:
    free = await texts(real, seed=1, n=2)
    assert await texts(real, seed=1, n=2, bad_words=["xyz"]) == free
    assert await texts(real, seed=1, n=2, bad_words=[]) == free
    assert await texts(real, seed=1, n=2, bad_words=["BAB"]) == free


async def test_log_probabilities_are_the_models_own(real: RealHouse) -> None:
    (choice,) = await real.choices(body(seed=1, bad_words=WORDS, logprobs=True, temperature=0))
    (free,) = await real.choices(body(seed=1, logprobs=True, temperature=0))
    kept, wanted = (each["logprobs"]["content"] for each in (choice, free))
    assert [entry["bytes"] for entry in kept] != [entry["bytes"] for entry in wanted]
    same = next(n for n, (a, b) in enumerate(zip(kept, wanted, strict=False)) if a != b)
    assert kept[:same] == wanted[:same]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_beside_a_form_and_a_bias_all_hold(real: RealHouse, stream: bool) -> None:
    """Of the six texts of the form the words leave four, and the bias two."""
    form = {"guided_regex": "(a|b|é)a(a|b)"}
    fields = {"bad_words": ["bab", "aaa"], "stream": stream, "n": 64, "seed": 1}
    found = set(await texts(real, **form, **fields, logit_bias={}))
    assert found == {"baa", "aab", "éaa", "éab"}
    bans = {str(token): -100 for token in ("é".encode()[0], 256 + PIECES.index("é".encode()))}
    assert set(await texts(real, **form, **fields, logit_bias=bans)) == {"baa", "aab"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_form_that_cannot_do_without_the_word_is_told(
    real: RealHouse, stream: bool
) -> None:
    asked = body(guided_choice=["bab"], bad_words=["ab"], stream=stream)
    response = await real.post(asked)
    data = (await response.get_data()).decode()
    assert response.status_code == (200 if stream else 400)
    error = json.loads(data.split("data: ")[-1])["error"]
    assert (error["param"], error["code"]) == ("guided_choice", "invalid_value")
    assert "bad_words bans every token" in error["message"]


async def test_where_nothing_is_left_an_answer_ends(real: RealHouse, tokenizer: Any) -> None:
    """Every token but controls and bytes that are no text has a letter that is banned."""
    others = {str(n): -100 for n in range(256) if n not in b"ab "}
    others |= {str(token): -100 for token in tokenizer.controls.values()}
    others |= {str(n): -100 for n in range(256 + len(PIECES) + len(CHATML), VOCABULARY)}
    asked = body(bad_words=["a", "b", " ", "é"], logit_bias=others, ignore_eos=True)
    (choice,) = await real.choices(asked)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")


async def test_a_call_has_none_either(make_tokenizer: Any, engine: Any) -> None:
    tokenizer = make_tokenizer((b"ab", b"ba"), (*CHATML, "<tool_call>", "</tool_call>"))
    schema = {
        "type": "object",
        "properties": {"x": {"type": "string", "pattern": "^[ab]{6}$"}},
        "required": ["x"],
    }
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}
    asked = body(tools=[tool], tool_choice="required", n=8, seed=1, logit_bias={})
    ends = frozenset({tokenizer.controls["<|im_end|>"]})
    async with real_house(engine, tokenizer, TEMPLATE, ends, tool_format="hermes") as house:
        free = await house.choices(asked)
        kept = await house.choices(asked | {"bad_words": ["bab", "aaa"]})
    said = [
        [call["function"]["arguments"] for c in each for call in c["message"].get("tool_calls", ())]
        for each in (free, kept)
    ]
    assert any("bab" in text or "aaa" in text for text in said[0])
    assert not any("bab" in text or "aaa" in text for text in said[1])
    assert said[1]
