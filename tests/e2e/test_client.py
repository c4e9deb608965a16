"""The official client against the real server and the bundled model."""

from typing import Any

import httpx
import openai
import pytest

HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client


def test_a_plain_answer(client):
    completion = client.chat.completions.create(
        model="parlance-bundled", messages=HELLO, temperature=0
    )
    (choice,) = completion.choices
    assert choice.message.content
    assert choice.finish_reason == "stop"
    assert completion.usage.total_tokens == (
        completion.usage.prompt_tokens + completion.usage.completion_tokens
    )
    assert completion.system_fingerprint.startswith("fp_")


def test_a_streamed_answer_is_the_plain_one(client):
    asked = {"model": "parlance-bundled", "messages": HELLO, "temperature": 0}
    plain = client.chat.completions.create(**asked)
    stream = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    text, finishes, usages = "", [], []
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finishes.append(choice.finish_reason)
        if chunk.usage:
            usages.append(chunk.usage)
    assert text == plain.choices[0].message.content
    assert [finish for finish in finishes if finish] == ["stop"]
    assert usages[0].completion_tokens == plain.usage.completion_tokens


def test_answers_that_are_to_be_stored_can_be_read_again(client):
    completions = client.chat.completions
    asked = {"model": "parlance-bundled", "messages": HELLO, "temperature": 0, "store": True}
    plain = completions.create(**asked, n=2, logprobs=True, metadata={"told": "at once"})
    stream = list(completions.create(**asked, stream=True, metadata={"told": "in pieces"}))
    text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)

    kept = completions.retrieve(plain.id)
    assert kept.choices == plain.choices
    assert kept.usage == plain.usage
    streamed = completions.retrieve(stream[0].id)
    assert streamed.choices[0].message.content == text
    assert [each.id for each in completions.list(metadata={"told": "in pieces"})] == [streamed.id]
    for stored in (plain, streamed):
        assert completions.delete(stored.id).deleted
    assert not list(completions.list())


def test_files_are_kept(client):
    file = client.files.create(file=("notes.txt", b"Bring bread."), purpose="user_data")
    assert client.files.content(file.id).read() == b"Bring bread."
    assert client.files.delete(file.id).deleted


def test_the_stream_helper_of_the_client(client):
    with client.chat.completions.stream(
        model="parlance-bundled", messages=HELLO, temperature=0
    ) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "stop"
    assert final.choices[0].message.content


def test_the_model_knows_what_it_was_taught(client):
    """A sample of each skill at temperature 0."""

    def ask(*turns: str) -> str:
        roles = ["user", "assistant"] * len(turns)
        messages = [
            {"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)
        ]
        completion = client.chat.completions.create(
            model="parlance-bundled", messages=messages, temperature=0, max_tokens=80
        )
        assert completion.choices[0].finish_reason == "stop"
        return completion.choices[0].message.content

    assert "Paris" in ask("What is the capital of France?")
    assert "12" in ask("What is 7 + 5?")
    assert "Mara" in ask("My name is Mara.", "Nice to meet you, Mara!", "What is my name?")


def test_the_prompts_prefix_comes_from_the_cache(client):
    messages = [
        {"role": "system", "content": "You are a helpful assistant. " * 20},
        {"role": "user", "content": "Hi"},
    ]
    usages = [
        client.chat.completions.create(
            model="parlance-bundled", messages=messages, temperature=0
        ).usage
        for _ in range(2)
    ]
    cached = usages[1].prompt_tokens_details.cached_tokens
    assert 0 < usages[1].prompt_tokens - cached <= 16


def test_choices_differ_and_a_seed_repeats_them(client):
    # Whatever the model is sure to say, it is not sure what to say after it.
    asked = {"model": "parlance-bundled", "messages": HELLO, "n": 6, "temperature": 2}
    asked |= {"max_tokens": 60, "extra_body": {"min_tokens": 40}}
    first = client.chat.completions.create(**asked, seed=3)
    again = client.chat.completions.create(**asked, seed=3)
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == list(range(6))
    assert len(set(texts)) > 1
    # One request at a time runs the same programs, so that it repeats in fast mode too.
    assert texts == [choice.message.content for choice in again.choices]


def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="parlance-bundled", messages=HELLO, web_search_options={}
        )
    assert (refused.value.code, refused.value.param) == (
        "unsupported_parameter",
        "web_search_options",
    )


def test_thoughts_are_bounded_counted_and_no_content(client):
    """`/think` in a message has the bundled model think, which it was taught."""

    def ask(**fields: Any) -> Any:
        question = [{"role": "user", "content": "What is 17 + 25? /think"}]
        answer = client.chat.completions.create(
            model="parlance-bundled", messages=question, temperature=0, max_tokens=80, **fields
        )
        assert "think>" not in (answer.choices[0].message.content or "")
        return answer.usage.completion_tokens_details.reasoning_tokens

    assert ask() > 0
    assert 0 < ask(reasoning_effort="minimal") <= 128
    assert ask(reasoning_effort="none") == 0


def test_the_contexts_end(client):
    """The end reached while generating gives `length`; a prompt that fills it is refused."""

    def ask(words: int):
        return client.chat.completions.create(
            model="parlance-bundled",
            messages=[{"role": "user", "content": "a " * words}],
            temperature=2,
            max_tokens=2048,
        )

    length, longer = ask(10).usage.prompt_tokens, ask(110).usage.prompt_tokens
    per_word = (longer - length) / 100
    assert per_word == int(per_word), "a prompt can no longer be made to fit exactly"
    words = 10 + int((2047 - length) // per_word)
    filled = ask(words)
    room = 2048 - filled.usage.prompt_tokens
    assert 1 <= room <= per_word
    assert filled.usage.completion_tokens <= room
    if filled.usage.completion_tokens == room:
        assert filled.choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError) as refused:
        ask(words + 1)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "messages"


def test_the_readme_curl(server):
    response = httpx.post(
        f"{server.url}/chat/completions",
        content=b'{"model": "parlance-bundled", "messages": [{"role": "user", "content": "Hi"}]}',
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert response.status_code == 200
    assert response.json()["object"] == "chat.completion"
    assert response.headers["x-request-id"]
    assert int(response.headers["openai-processing-ms"]) >= 0
