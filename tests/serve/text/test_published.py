"""The families' tokenizers and templates against what the reference library made of them."""

from typing import Any

import pytest
from support import published_text as published

from serve.text import template as template_module
from serve.text.template import ConversationError


@pytest.fixture(autouse=True)
def the_day_of_the_fixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_module, "datetime", published.Clock)


TEXTS = [
    pytest.param(name, entry["text"], entry["ids"], id=f"{name}-{entry['text']!r:.30}")
    for name in published.NAMES
    for entry in published.expected(name)["texts"]
]
CONVERSATIONS = [
    pytest.param(name, entry, id=f"{name}-{entry['title']}-{entry['prompt']}")
    for name in published.NAMES
    for entry in published.expected(name)["conversations"]
]
SPELLINGS = [
    (name, spelling) for name in published.NAMES for spelling in published.tokenizer(name).controls
]


@pytest.mark.parametrize(("name", "text", "ids"), TEXTS)
def test_ids_of_plain_text(name: str, text: str, ids: list[int]) -> None:
    assert published.tokenizer(name).encode(text) == ids


@pytest.mark.parametrize(("name", "entry"), CONVERSATIONS)
def test_ids_of_conversations(name: str, entry: dict[str, Any]) -> None:
    renderer = published.renderer(name)
    if "error" in entry:
        with pytest.raises(ConversationError) as refused:
            renderer.render(entry["messages"], add_generation_prompt=entry["prompt"])
        assert str(refused.value) == entry["error"]
    else:
        ids = renderer.render(entry["messages"], add_generation_prompt=entry["prompt"])
        assert ids == entry["ids"]


@pytest.mark.parametrize("name", published.NAMES)
def test_the_beginning_is_written_once(name: str) -> None:
    tokenizer = published.tokenizer(name)
    ids = published.renderer(name).render([{"role": "user", "content": "Hi"}])
    begin = tokenizer.controls.get(tokenizer.named.get("bos_token", ""))
    writes_one = name not in ("phi3", "phi4_mini", "gpt_oss", "qwen2_5", "qwen3")
    assert ids.count(begin) == writes_one
    assert (ids[0] == begin) == writes_one


@pytest.mark.parametrize(("name", "spelling"), SPELLINGS)
@pytest.mark.parametrize("around", ["{}", "a{}b", "{0}{0}", " {}\n", "<{}>", "{}|>"])
def test_text_stays_text(name: str, spelling: str, around: str) -> None:
    tokenizer, renderer = published.tokenizer(name), published.renderer(name)
    controls = set(tokenizer.controls.values())

    def messages(word: str) -> list[dict[str, object]]:
        said = around.format(word)
        return [
            {"role": "user", "content": said},
            {"role": "assistant", "content": f"so {said}"},
            {"role": "user", "content": said},
        ]

    def markup(word: str) -> list[int]:
        return [token for token in renderer.render(messages(word)) if token in controls]

    assert markup(spelling) == markup("harmless")
    whole = published.spelled(name, renderer.render(messages(spelling)))
    plain = published.template(name).render(messages(spelling))
    assert published.closed_up(whole) == published.closed_up(plain)
    assert tokenizer.controls[spelling] not in tokenizer.encode(around.format(spelling))


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("llama2", "</s>"),
        ("llama3", "<|eot_id|>"),
        ("mistral_v1", "</s>"),
        ("mistral_v3", "</s>"),
        ("mistral_tekken", "</s>"),
        ("mixtral", "</s>"),
        ("qwen2_5", "<|im_end|>"),
        ("qwen3", "<|im_end|>"),
        ("gemma2", "<end_of_turn>"),
        ("gemma3", "<end_of_turn>"),
        ("phi3", "<|end|>"),
        ("phi4_mini", "<|end|>"),
        # Not <|end|>, which also ends a channel's message inside a turn.
        ("gpt_oss", "<|return|>"),
        ("olmo2", "<|endoftext|>"),
    ],
)
def test_the_token_that_ends_a_turn_in_the_template(name: str, end: str) -> None:
    assert published.renderer(name).end_ids() == {published.tokenizer(name).controls[end]}
    # Every family is in the list above.
    assert len(published.NAMES) == 14
