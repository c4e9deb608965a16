"""Log-probabilities of real answers: languages, emoji, stop strings, load."""

import asyncio
import json
import math
import random
from itertools import pairwise

import httpx
import openai
import pytest

from model.tokenizer.sentence_piece import SentencePieceTokenizer
from serve.config import bundled_model

MODEL = "parlance-bundled"
# Of thoughts nothing is told; here every token that is sampled has an entry.
WITHOUT_THOUGHTS = {"chat_template_kwargs": {"enable_thinking": False}}
TEXTS = [
    "Hello!",
    "What is the capital of Italy?",
    "Repeat: 🦊 fox 日本語 é",
    "Γειά σου Κόσμε, what is this?",
    "مرحبا بالعالم",
    "नमस्ते दुनिया 👩‍👩‍👧‍👦 🇩🇪",
    "Привет, мир! 안녕하세요 세계",
    "e\u0301 combining, \u200b zero width, <|im_end|> spelled",
    "What is 3 + 4?",
]
STOPS = [None, "e", ["in", "o w"], ["\n", "é", "日本"], [" ", "�"], ["the", "t", "a b"], "🦊"]


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePieceTokenizer(bundled_model() / "tokenizer.model")


@pytest.fixture(scope="module")
def looks(tokenizer) -> set:
    """What an entry of each token of the vocabulary shows."""
    return {shown(tokenizer, token) for token in range(tokenizer.vocab_size)}


def shown(tokenizer, token: int) -> tuple:
    exact = tokenizer.token_bytes(token)
    return tokenizer.token_text(token), exact if exact is None else tuple(exact)


def look(entry: dict) -> tuple:
    return entry["token"], entry["bytes"] if entry["bytes"] is None else tuple(entry["bytes"])


def client(server) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=300)
    return httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits, trust_env=False)


def body(rng: random.Random, **fields) -> dict:
    """A request for log-probabilities; at temperature 2 the small model babbles in bytes."""
    stop = rng.choice(STOPS)
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": rng.choice(TEXTS)}],
        "max_tokens": rng.randint(1, 40),
        "temperature": rng.choice([0, 0.7, 1, 1.5, 2]),
        "seed": rng.randrange(2**63),
        "logprobs": True,
        "top_logprobs": rng.randint(0, 20),
        **({"n": 2} if rng.random() < 0.2 else {}),
        **({} if stop is None else {"stop": stop}),
        **fields,
    }


def random_controls(rng: random.Random, vocabulary: int) -> dict:
    """A mixture of all controls, each there or not."""
    controls = {
        "temperature": rng.choice([0, 1e-4, 0.3, 1, 2]),
        "top_p": rng.choice([0, 0.1, 0.9, 1]),
        "top_k": rng.choice([0, 1, 7, 10**6]),
        "min_p": rng.choice([0, 0.02, 1]),
        "frequency_penalty": rng.uniform(-2, 2),
        "presence_penalty": rng.uniform(-2, 2),
        "min_tokens": rng.randint(0, 5),
        "ignore_eos": rng.random() < 0.3,
        "logit_bias": {
            str(token): rng.choice([-100, -5, 1.5, 100])
            for token in rng.sample(range(vocabulary), rng.choice([0, 1, 10, 300]))
        },
    }
    return {name: value for name, value in controls.items() if rng.random() < 0.5}


async def plain(http: httpx.AsyncClient, asked: dict) -> tuple[list, int]:
    """The choices as (text, finish reason, entries), and the completion tokens."""
    response = await http.post("/chat/completions", json=WITHOUT_THOUGHTS | asked)
    assert response.status_code == 200, response.text
    answer = response.json()
    choices = [
        (
            choice["message"]["content"],
            choice["finish_reason"],
            choice["logprobs"] and choice["logprobs"]["content"],
        )
        for choice in answer["choices"]
    ]
    return choices, answer["usage"]["completion_tokens"]


async def streamed(http: httpx.AsyncClient, asked: dict) -> tuple[list, int]:
    """The same from a stream, whose form is checked on the way."""
    count = asked.get("n", 1)
    texts, finishes, entries, usage = [""] * count, [""] * count, [[] for _ in range(count)], None
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async with http.stream(
        "POST", "/chat/completions", json=WITHOUT_THOUGHTS | asked | options
    ) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            usage = chunk["usage"]
            for choice in chunk["choices"]:
                index, delta = choice["index"], choice["delta"]
                texts[index] += delta.get("content", "")
                finishes[index] = choice["finish_reason"] or ""
                if "role" in delta or not delta or not asked.get("logprobs"):
                    assert choice["logprobs"] is None
                else:
                    assert choice["logprobs"]["refusal"] is None
                    entries[index] += choice["logprobs"]["content"]
                    assert delta["content"] or choice["logprobs"]["content"]
    logprobs = entries if asked.get("logprobs") else [None] * count
    return list(zip(texts, finishes, logprobs, strict=True)), usage["completion_tokens"]


def check(asked: dict, choices: list, completion_tokens: int, looks: set) -> None:
    """Every property of an answer's entries."""
    assert sum(len(entries) for _, _, entries in choices) == completion_tokens
    stops = asked.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    for text, reason, entries in choices:
        for entry in entries:
            check_entry(entry, asked["top_logprobs"], looks)
        exact = b"".join(bytes(entry["bytes"] or ()) for entry in entries)
        whole = exact.decode(errors="replace")
        assert whole.startswith(text)
        if whole != text:
            # A stop string began inside the last token, perhaps within a character; without
            # that token, some of the content would be missing.
            assert reason == "stop"
            rest = whole[len(text) :]
            assert rest == "�" or any(rest[0] == stop[0] for stop in stops)
            last = next(entry["bytes"] for entry in reversed(entries) if entry["bytes"])
            assert "�" in text or len(exact) - len(last) < len(text.encode())
        elif "�" not in text:
            assert exact == text.encode()
        assert not any(stop in text for stop in stops)
        if reason == "length":
            assert len(entries) == asked["max_tokens"]


def check_entry(entry: dict, alternatives: int, looks: set) -> None:
    top = entry["top_logprobs"]
    numbers = [other["logprob"] for other in top]
    assert list(entry) == ["token", "bytes", "logprob", "top_logprobs"]
    assert len(top) == alternatives
    assert numbers == sorted(numbers, reverse=True)
    assert all(-9999.0 <= number <= 0 for number in [*numbers, entry["logprob"]])
    assert math.fsum(map(math.exp, numbers)) <= 1.0001
    assert {look(entry), *map(look, top)} <= looks
    same = [other["logprob"] for other in top if look(other) == look(entry)]
    if entry["logprob"] == -9999.0:
        return
    # Among the likeliest that are listed, or less likely than all of them.
    assert entry["logprob"] in same or alternatives < 20
    assert entry["logprob"] in same or not top or entry["logprob"] <= numbers[-1]


@pytest.mark.parametrize("seed", range(6))
async def test_every_answer_of_a_fuzz(deterministic_server, looks, seed):
    rng = random.Random(seed)
    async with client(deterministic_server) as http:

        async def one(asked: dict) -> None:
            (choices, tokens), again = await asyncio.gather(
                plain(http, asked), streamed(http, asked)
            )
            assert again == (choices, tokens)
            check(asked, choices, tokens, looks)

        await asyncio.gather(*(one(body(rng)) for _ in range(60)))


async def test_every_number_of_alternatives(server, looks):
    """The same tokens, whatever is listed with them: each list begins as the next longer one."""
    rng = random.Random(5)
    asked = body(rng, temperature=0, n=1, stop=None, max_tokens=8)
    async with client(server) as http:
        await plain(http, asked)
        lists: list[list] = []
        for count in range(21):
            choices, tokens = await plain(http, asked | {"top_logprobs": count})
            check(asked | {"top_logprobs": count}, choices, tokens, looks)
            lists.append([entry["top_logprobs"] for entry in choices[0][2]])
    for shorter, longer in pairwise(lists):
        assert [list(map(look, top)) for top in shorter] == [
            list(map(look, top[:-1])) for top in longer
        ]


async def test_controls_do_not_change_what_is_reported(server, tokenizer):
    """Of the first token: the model's own distribution, whatever is drawn from it."""
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What is 3 + 4?"}],
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 20,
    }
    async with client(server) as http:
        ((_, _, (entry,)),), _ = await plain(http, asked | {"temperature": 0})
        assert entry["logprob"] == entry["top_logprobs"][0]["logprob"]
        likely = {look(other) for other in entry["top_logprobs"]}
        unlikely = next(
            token
            for token in range(tokenizer.vocab_size)
            if shown(tokenizer, token) not in likely and tokenizer.token_bytes(token)
        )
        for controls in (
            {"temperature": 2, "min_p": 0.01},
            {"temperature": 0, "frequency_penalty": 2, "presence_penalty": -2, "top_k": 3},
            {"logit_bias": {str(unlikely): 100}},
        ):
            ((_, _, (other,)),), _ = await plain(http, asked | controls)
            assert [look(top) for top in other["top_logprobs"]] == [
                look(top) for top in entry["top_logprobs"]
            ]
            assert [top["logprob"] for top in other["top_logprobs"]] == pytest.approx(
                [top["logprob"] for top in entry["top_logprobs"]], abs=1e-4
            )
        assert look(other) == shown(tokenizer, unlikely)
        assert other["logprob"] == -9999.0


async def test_control_tokens(deterministic_server, tokenizer):
    """One that ends no turn says nothing, counts, and has an entry without bytes."""
    control = tokenizer.controls["<|im_start|>"]
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 3,
        "logit_bias": {str(control): 100},
        "logprobs": True,
        "top_logprobs": 2,
        "temperature": 0,
    }
    async with client(deterministic_server) as http:
        answer, again = await asyncio.gather(plain(http, asked), streamed(http, asked))
    assert answer == again
    ((text, reason, entries),), tokens = answer
    assert (text, reason, tokens) == ("", "length", 3)
    assert [look(entry) for entry in entries] == [("<|im_start|>", None)] * 3


async def test_byte_pieces_have_their_one_byte(deterministic_server, tokenizer):
    """The balloon is no piece of the small vocabulary: four bytes, four tokens, one character."""
    pieces = {tuple(exact): token for token, exact in enumerate_bytes(tokenizer)}
    async with client(deterministic_server) as http:
        asked = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 1,
            "logit_bias": {str(pieces[0xF0,]): 100},
            "logprobs": True,
            "temperature": 0,
        }
        ((text, _, (entry,)),), _ = await plain(http, asked)
    # Alone it is no character: U+FFFD in the text, exact in the entry.
    assert text == "�"
    assert (entry["token"], entry["bytes"]) == ("�", [0xF0])


def enumerate_bytes(tokenizer):
    for token in range(tokenizer.vocab_size):
        exact = tokenizer.token_bytes(token)
        if exact is not None:
            yield token, exact


def test_the_official_client(server):
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 3,
    }
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as api:
        completion = api.chat.completions.create(**asked)
        (choice,) = completion.choices
        content = choice.logprobs.content
        assert b"".join(bytes(entry.bytes) for entry in content).decode() == choice.message.content
        assert len(content) == completion.usage.completion_tokens
        assert all(len(entry.top_logprobs) == 3 for entry in content)
        # Greedy: each token is the likeliest.
        assert all(entry.token == entry.top_logprobs[0].token for entry in content)
        with api.chat.completions.stream(**asked) as stream:
            final = stream.get_final_completion()
    assert [entry.token for entry in final.choices[0].logprobs.content] == [
        entry.token for entry in content
    ]


async def keep_loading(http: httpx.AsyncClient, rng: random.Random, vocabulary: int) -> None:
    """One stream after the other, of all kinds."""
    while True:
        asked = body(rng, max_tokens=rng.randint(5, 40)) | random_controls(rng, vocabulary)
        if rng.random() < 0.5:
            del asked["logprobs"], asked["top_logprobs"]
        await streamed(http, asked)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_100_seeded_requests_repeat_byte_for_byte_under_load(
    deterministic_server, tokenizer, looks
):
    vocabulary = tokenizer.vocab_size
    rng, shuffler = random.Random(21), random.Random(0)
    asked = [
        body(rng, max_tokens=rng.randint(5, 40)) | random_controls(rng, vocabulary)
        for _ in range(100)
    ]
    async with client(deterministic_server) as http, client(deterministic_server) as others:

        async def all_of(ask) -> list:
            """What each request is answered, eight at a time, in a new order."""
            order = list(range(len(asked)))
            shuffler.shuffle(order)
            gate, answers = asyncio.Semaphore(8), [None] * len(asked)

            async def one(index: int) -> None:
                async with gate:
                    answers[index] = await ask(http, asked[index])

            await asyncio.gather(*map(one, order))
            return answers

        load = [
            asyncio.create_task(keep_loading(others, random.Random(1000 + n), vocabulary))
            for n in range(32)
        ]
        try:
            first, second, third = [await all_of(ask) for ask in (plain, plain, streamed)]
            for task in load:
                assert not task.done(), task.exception()
        finally:
            for task in load:
                task.cancel()
            await asyncio.gather(*load, return_exceptions=True)
        quiet = [await plain(http, each) for each in asked[:10]]
    assert second == first
    assert third == first
    assert quiet == first[:10]
    for each, (choices, tokens) in zip(asked, first, strict=True):
        check(each, choices, tokens, looks)
    await asyncio.to_thread(deterministic_server.wait_idle, 30)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_500_random_requests_compile_nothing(server, tokenizer):
    rng = random.Random(11)
    before = server.metric("parlance_engine_compilations_total")
    gate = asyncio.Semaphore(48)
    async with client(server) as http:

        async def one(ask, asked: dict) -> None:
            async with gate:
                choices, _ = await ask(http, asked)
            assert all(reason in ("stop", "length") for _, reason, _ in choices)

        requests = []
        for _ in range(500):
            asked = body(rng, max_tokens=rng.randint(5, 30))
            asked |= random_controls(rng, tokenizer.vocab_size)
            for name in ("logprobs", "n", "seed"):
                if rng.random() < 0.3:
                    asked.pop(name, None)
            if "logprobs" not in asked:
                del asked["top_logprobs"]
            requests.append(one(rng.choice([plain, streamed]), asked))
        await asyncio.gather(*requests)
    assert before == 0
    assert server.metric("parlance_engine_compilations_total") == 0
    await asyncio.to_thread(server.wait_idle, 30)


async def test_a_prompt_that_holds_an_answer_tells_what_that_told(server):
    """The log-probabilities of its tokens, though they are computed many at a time there."""
    question = {"role": "user", "content": "Which day comes after Monday? " * 60}
    asked = {"model": MODEL, "max_tokens": 12, "temperature": 0}
    explained = asked | {"messages": [question], "logprobs": True, "top_logprobs": 20}
    async with client(server) as http:
        first = (await http.post("/chat/completions", json=explained)).json()
        (choice,) = first["choices"]
        answer = {"role": "assistant", "content": choice["message"]["content"]}
        both = asked | {"messages": [question, answer], "n": 2, "prompt_logprobs": 20}
        told = [(await http.post("/chat/completions", json=both)).json() for _ in range(2)]
    begin, entries = first["usage"]["prompt_tokens"], choice["logprobs"]["content"]
    # More than a chunk, and more than a word.
    assert begin > 256
    assert len(entries) > 1
    for response in told:
        assert response["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        prompt = response["prompt_logprobs"]
        assert len(prompt) == response["usage"]["prompt_tokens"]
        for entry, place in zip(entries, prompt[begin : begin + len(entries)], strict=True):
            assert next(iter(place.values()))["decoded_token"] == entry["token"]
            assert [each["rank"] for each in place.values()] == list(range(1, 21))
            assert [each["logprob"] for each in place.values()] == pytest.approx(
                [top["logprob"] for top in entry["top_logprobs"]], abs=1e-3
            )
    assert told[0]["prompt_logprobs"] == told[1]["prompt_logprobs"]
