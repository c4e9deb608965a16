"""The offline model: real answers of the bundled model, checked by hand and by the reference."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from support import published_text as published
from support.foreign_directories import whole
from support.gguf_files import from_hub
from support.naive import naive_logits

from model.loading import LoadedModel, load_model, load_tokenizer
from model.mesh import make_mesh
from sampling.params import SamplingParams
from serve.config import bundled_model
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.loading import LoadedEngine
from serve.engine.types import EngineInfo
from serve.offline import Answer, Choice, LocalModel
from serve.offline.answers import Collector
from serve.offline.prompts import PromptEncoder
from serve.text.render import Renderer
from serve.text.template import TemplateError
from serve.text.template_files import load_chat_template

CONTEXT = 128
GREEDY = SamplingParams(temperature=0.0)
SETTINGS = [
    SamplingParams(temperature=1.5, seed=1, logprobs=True),
    SamplingParams(temperature=1.2, seed=2, top_p=0.9, frequency_penalty=1.0, logprobs=True),
    SamplingParams(temperature=1.8, seed=2**63 + 5, min_p=0.02, ignore_eos=True),
    SamplingParams(temperature=0.9, seed=-4, top_k=5, presence_penalty=-1.0, min_tokens=9),
    SamplingParams(temperature=0.0, logit_bias=((300, 4.0), (301, -100.0)), logprobs=True),
    SamplingParams(seed=6),
]


def said(content: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": content}]


PROMPTS = [
    "The sun is",
    said("Hello"),
    "a b c d",
    said("Reverse the word planet"),
    "I am",
    "In the",
]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel.load(rows=8, context=CONTEXT, compile_cache=None) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def weights() -> LoadedModel:
    return load_model(bundled_model(), make_mesh())


def wait_idle(model: LocalModel) -> None:
    """Wait until the engine runs nothing, and see that every page is back."""
    deadline = time.monotonic() + 60
    while model._engine.stats.running or model._engine.stats.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    stats = model._engine.stats
    assert stats.pages_free + stats.pages_cached == stats.pages_total


# --- answers -------------------------------------------------------------------------------


def test_conversations_and_strings_are_answered_in_order(model):
    prompts = [said("What is 7 + 5?"), "I don't know that. I am only a", said("What is 2 + 2?")]
    first, second, third = model.generate(prompts, GREEDY, max_tokens=20)
    assert [first.choices[0].text, third.choices[0].text] == ["7 + 5 = 12", "2 + 2 = 4"]
    assert second.choices[0].text == " small model."
    assert {each.choices[0].finish_reason for each in (first, second, third)} == {"stop"}


def test_a_conversation_is_rendered_and_a_string_is_not(model):
    controls = model.tokenizer.controls
    prompts = ["user\nHi", said("Hi"), "<|im_end|>", said("<|im_end|>")]
    raw, chat, spelled, quoted = (
        answer.prompt for answer in model.generate(prompts, GREEDY, max_tokens=1)
    )
    opening = (controls["<|im_start|>"], *model.tokenizer.encode("assistant\n"))
    assert raw == tuple(model.tokenizer.encode("user\nHi"))
    assert chat[: 1 + len(raw)] == (controls["<|im_start|>"], *raw)
    assert chat[-len(opening) :] == opening
    assert not set(spelled) & set(controls.values())
    assert sum(token in controls.values() for token in quoted) == 3


def test_every_form_of_a_conversation_that_a_request_can_have(model):
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    forms = [said("Hello"), [{"role": "user", "content": parts}], tuple(said("Hello"))]
    answers = model.generate(forms, GREEDY, max_tokens=8)
    assert answers[0] == answers[1] == answers[2]


def test_the_bytes_of_the_tokens_are_the_text(model):
    found = model.generate(PROMPTS, SamplingParams(temperature=2.0), n=4, max_tokens=40)
    for choice in (choice for answer in found for choice in answer.choices):
        exact = b"".join(token.bytes or b"" for token in choice.tokens)
        assert exact.decode(errors="replace") == choice.text
        assert [token.bytes for token in choice.tokens] == [
            model.tokenizer.token_bytes(token.id) for token in choice.tokens
        ]


def test_a_control_token_has_a_spelling_and_no_bytes(model):
    control = model.tokenizer.controls["<|im_start|>"]
    forced = SamplingParams(temperature=0.0, logit_bias=((control, 100.0),))
    (answer,) = model.generate(["Hello"], forced, max_tokens=2)
    assert answer.choices[0].text == ""
    assert [(token.text, token.bytes) for token in answer.choices[0].tokens] == [
        ("<|im_start|>", None)
    ] * 2


def test_thoughts_are_told_apart(model):
    think = model.tokenizer.controls["<think>"]
    forced = SamplingParams(temperature=0.0, logit_bias=((think, 100.0),))
    (answer,) = model.generate([said("Hello")], forced, max_tokens=5)
    # The first opens the thoughts.
    assert answer.choices == (Choice("", (), "length", "<think>" * 4),)
    (plain,) = model.generate([said("Hello")], forced, max_tokens=5, reasoning_effort="none")
    assert plain.choices[0].thoughts == ""
    assert think not in {token.id for token in plain.choices[0].tokens}
    assert model.tokenizer.controls["</think>"] in plain.prompt
    (raw,) = model.generate(["Hello"], forced, max_tokens=2)
    assert raw.choices[0].text == "<think>" * 2


def test_levels_of_effort_that_are_none(model):
    with pytest.raises(ValueError, match="reasoning_effort is 'x'; it must be one of none, min"):
        model.generate([said("Hello")], reasoning_effort="x")


def test_max_tokens_bounds_and_is_bounded_by_the_context(model):
    endless = SamplingParams(ignore_eos=True)
    for bound, length in ((5, 5), (None, CONTEXT), (CONTEXT, CONTEXT)):
        (answer,) = model.generate(["The sun is"], endless, max_tokens=bound)
        expected = length if bound == 5 else length - len(answer.prompt)
        assert len(answer.choices[0].tokens) == expected
        assert answer.choices[0].finish_reason == "length"


def test_a_stop_string_ends_only_the_choice_that_has_it(model):
    prompts = [said("What is 7 + 5?"), said("What is 2 + 2?")]
    for stop in ("= 1", ["nowhere", "= 1"]):
        stopped, whole = model.generate(prompts, GREEDY, n=2, max_tokens=20, stop=stop)
        for choice in stopped.choices:
            assert (choice.text, choice.finish_reason) == ("7 + 5 ", "stop")
            # " = " is one token, which the stop string cuts.
            assert "".join(token.text for token in choice.tokens) == "7 + 5 = "
        assert [choice.text for choice in whole.choices] == ["2 + 2 = 4"] * 2
    wait_idle(model)


def test_a_stopped_choice_gives_its_row_back(model):
    endless = SamplingParams(ignore_eos=True, temperature=0.0)
    before = model._engine.stats.cancelled
    (answer,) = model.generate([said("What is 7 + 5?")], endless, stop="=")
    assert answer.choices[0].text == "7 + 5 "
    wait_idle(model)
    assert model._engine.stats.cancelled == before + 1


# --- sampling ------------------------------------------------------------------------------


def test_a_mixed_batch_gives_every_row_what_it_gets_alone(model):
    together = model.generate(PROMPTS, SETTINGS, n=3, max_tokens=25)
    for prompt, settings, answer in zip(PROMPTS, SETTINGS, together, strict=True):
        assert model.generate([prompt], settings, n=3, max_tokens=25) == [answer]
        assert model.generate([prompt], settings, max_tokens=25)[0].choices == answer.choices[:1]
    different = {(each.thoughts, each.text) for answer in together for each in answer.choices}
    assert len(different) > 10


def test_the_seed_is_what_distinguishes_two_calls(model):
    texts = [
        model.generate(PROMPTS, SamplingParams(temperature=1.5, seed=seed), max_tokens=20)
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"enum": [7, 70]}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
IN_JSON = {
    "type": "json_schema",
    "json_schema": {"name": "person", "strict": True, "schema": PERSON},
}


def test_a_format_holds_whatever_is_sampled(model):
    hot = [SamplingParams(temperature=2.0, seed=seed) for seed in range(4)]
    fields = {"response_format": IN_JSON, "schema_in_prompt": False, "reasoning_effort": "none"}
    answers = model.generate([said("Who?"), "I am"] * 2, hot, n=3, **fields)
    for choice in (choice for answer in answers for choice in answer.choices):
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.text), PERSON)


def test_the_model_is_told_of_a_format_if_wanted(model):
    def prompt(**fields):
        (answer,) = model.generate([said("Who?")], max_tokens=1, **fields)
        return answer.prompt

    an_object = {"type": "json_object"}
    assert prompt(response_format={"type": "text"}) == prompt()
    assert prompt(response_format=an_object, schema_in_prompt=False) == prompt()
    assert len(prompt(response_format=an_object)) > len(prompt()) + 20


def test_which_tokens_a_format_allowed(model):
    fields = {"response_format": IN_JSON, "schema_in_prompt": False, "reasoning_effort": "none"}
    (answer,) = model.generate([said("Who?")], GREEDY, **fields)
    choice = answer.choices[0]
    allowed = model.allowed(choice, IN_JSON)
    assert allowed.shape == (len(choice.tokens), model.info.vocab_size)
    assert all(row[token.id] for row, token in zip(allowed, choice.tokens, strict=True))
    # At first only tokens that begin with a brace; nothing ever ends the turn before the end.
    begin = {
        model.tokenizer.token_bytes(token)[:1] for token in np.flatnonzero(allowed[0]).tolist()
    }
    assert begin == {b"{"}
    assert not allowed[:, list(model.end_ids)].any()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"type": "yaml"}, "response_format: .*'json_schema'"),
        ({"type": "json_schema", "json_schema": {"name": "a b"}}, "response_format: "),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "a", "strict": True, "schema": {"items": {"not": {}}}},
            },
            "invalid schema at 'items.not'",
        ),
    ],
)
def test_a_format_that_cannot_be_held_is_refused(model, wanted, message):
    with pytest.raises(ValueError, match=message):
        model.generate(["I am"], response_format=wanted)


def test_an_answer_that_cannot_go_on_is_an_error(model):
    banned = tuple(
        (token, -100.0)
        for token in range(model.tokenizer.vocab_size)
        if (model.tokenizer.token_bytes(token) or b"")[:1] == b"{"
    )
    with pytest.raises(RuntimeError, match="given up: logit_bias bans every token"):
        model.generate(["I am"], SamplingParams(logit_bias=banned), response_format=IN_JSON)
    with pytest.raises(ValueError, match="text allows every token"):
        model.allowed(model.generate(["I am"], max_tokens=1)[0].choices[0], {"type": "text"})


def test_threads_share_the_batches(model):
    wanted = [model.generate([prompt], SETTINGS[0], max_tokens=20) for prompt in PROMPTS]
    found: dict[int, list[Answer]] = {}

    def ask(index: int) -> None:
        found[index] = model.generate([PROMPTS[index]], SETTINGS[0], max_tokens=20)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(PROMPTS))] == wanted


# --- log-probabilities ---------------------------------------------------------------------


def reference(weights: LoadedModel, answer: Answer, choice: Choice) -> np.ndarray:
    """Log-probabilities of the whole vocabulary at each of the choice's tokens."""
    tokens = [*answer.prompt, *(token.id for token in choice.tokens)]
    logits = naive_logits(weights.config, weights.parameters, tokens)[len(answer.prompt) - 1 : -1]
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_log_probabilities_are_those_of_a_forward_pass(model, weights):
    """To 1e-4, whatever the settings, for the sampled tokens and all alternatives."""
    # The first token of each answer is as unlikely as can be, until the model sees it repeated.
    unlikely = [
        SamplingParams(temperature=0.0, logit_bias=((token, 100.0),), logprobs=True)
        for token in range(900, 905)
    ]
    asked = [settings for settings in SETTINGS if settings.logprobs] + unlikely
    answers = model.generate((PROMPTS * 2)[: len(asked)], asked, n=2, max_tokens=12)
    outside = 0
    for answer in answers:
        for choice in answer.choices:
            for token, row in zip(choice.tokens, reference(weights, answer, choice), strict=True):
                assert token.logprob == pytest.approx(row[token.id], abs=1e-4)
                listed = token.alternatives
                assert [other.logprob for other in listed] == pytest.approx(
                    row[[other.id for other in listed]].tolist(), abs=1e-4
                )
                assert len({other.id for other in listed}) == len(listed) == 20
                assert listed[-1].logprob > np.sort(row)[-20] - 1e-4
                assert sorted(listed, key=lambda other: -other.logprob) == list(listed)
                outside += token.id not in {other.id for other in listed}
    assert outside > 12, "no sampled token was unlikely: the exactness of those is not shown"


def test_log_probabilities_only_when_asked_for(model):
    answers = model.generate(PROMPTS, SETTINGS, max_tokens=6)
    for settings, answer in zip(SETTINGS, answers, strict=True):
        for token in answer.choices[0].tokens:
            assert (token.logprob is not None) == settings.logprobs
            assert len(token.alternatives) == 20 * settings.logprobs


# --- refusals and endings ------------------------------------------------------------------

PICTURE = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
FILE = {"type": "file", "file": {"file_data": "aGk="}}


@pytest.mark.parametrize(
    ("prompts", "fields", "message"),
    [
        ("Hello", {}, "give a list of prompts"),
        (said("Hello"), {}, "give a list of prompts"),
        (["Hello", ""], {}, r"prompts\[1\]: the prompt is empty"),
        (["Hello", []], {}, r"prompts\[1\]: Invalid 'messages': empty array"),
        ([7], {}, r"prompts\[0\]: Invalid type for 'messages'"),
        ([["Hello"]], {}, r"prompts\[0\]: Invalid type for 'messages\[0\]'"),
        ([[{"role": "owner", "content": "x"}]], {}, r"prompts\[0\]: .*'owner'"),
        ([[{"role": "user", "text": "x"}]], {}, r"prompts\[0\]: .*messages\[0\]"),
        ([[{"role": "tool", "content": "x", "tool_call_id": "1"}]], {}, "must answer a tool call"),
        (["\ud800"], {}, r"prompts\[0\]: the text has a lone surrogate"),
        (["a b " * 64], {}, r"prompts\[0\]: the prompt has \d+ tokens, and the context of 128"),
        (["Hello"], {"n": 0}, "n is 0; it must be at least 1"),
        (["Hello"], {"max_tokens": 0}, "max_tokens is 0; it must be at least 1"),
        (["Hello"], {"params": [GREEDY] * 2}, "params has 2 entries for 1 prompts"),
        (["Hello"], {"stop": ""}, "empty one"),
        (["Hello"], {"params": SamplingParams(logit_bias=((1536, 1.0),))}, "ids are 0 to 1535"),
    ],
)
def test_what_cannot_be_generated_is_refused(model, prompts, fields, message):
    with pytest.raises(ValueError, match=message):
        model.generate(prompts, **fields)
    wait_idle(model)
    assert not model._inboxes


@pytest.mark.parametrize("part", [PICTURE, FILE])
def test_pictures_and_files_are_refused_by_name(model, part):
    conversation = [{"role": "user", "content": [{"type": "text", "text": "See"}, part]}]
    with pytest.raises(ValueError, match="Unsupported parameter") as refused:
        model.generate(["Hello", conversation])
    assert str(refused.value) == (
        f"prompts[1]: Unsupported parameter: 'messages[0].content[1]'. '{part['type']}' is not "
        f"taken here: scripts show the model text only."
    )


def test_no_prompts_no_answers(model):
    assert model.generate([]) == []


def test_an_interrupted_call_leaves_nothing_running(model, monkeypatch):
    def interrupt(collector: Collector, event: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Collector, "feed", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.generate(PROMPTS, SamplingParams(ignore_eos=True), n=4)
    wait_idle(model)
    assert model.generate([said("What is 2 + 2?")], GREEDY)[0].choices[0].text == "2 + 2 = 4"


def test_bars_only_where_they_are_wanted(model, capsys, monkeypatch):
    model.generate(["Hello"], GREEDY, max_tokens=2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(model, "_progress", True)
    model.generate(["Hello"], GREEDY, n=3, max_tokens=2)
    assert re.search(r"generating: .* 0/3 ", capsys.readouterr().err)


def test_a_string_begins_as_the_models_raw_texts_do():
    tokenizer = published.tokenizer("llama2")
    prompts = PromptEncoder(tokenizer, published.renderer("llama2"), 64)
    ids = prompts.encode("a b")
    room = prompts.room(ids)
    assert ids == published.expected("llama2")["raw"]
    assert room == 64 - len(ids)
    begin = tokenizer.controls["<s>"]
    assert ids[0] == begin
    assert prompts.encode([{"role": "user", "content": "a b"}]).count(begin) == 1
    with pytest.raises(ValueError, match="the prompt is empty"):
        prompts.encode("")


def test_what_changes_nothing_in_a_conversation_is_warned_of():
    prompts = PromptEncoder(published.tokenizer("qwen3"), published.renderer("qwen3"), 64)
    answer = {"role": "assistant", "content": "b", "reasoning_content": "c"}
    plain = [{"role": "user", "content": "a"}, answer]
    marked = [{**plain[0], "cache_control": {"type": "ephemeral"}}, {**answer, "parsed": 1}]
    with pytest.warns(
        UserWarning, match=r"nothing: messages\[0\]\.cache_control, messages\[1\]\.p"
    ):
        assert prompts.encode(marked) == prompts.encode(plain)
    shown = published.renderer("qwen3").render(plain)
    assert prompts.encode(plain) == shown
    del answer["reasoning_content"]
    assert prompts.encode(plain) != shown


def test_a_template_that_is_not_there():
    with pytest.raises(TemplateError, match=r"is nowhere\.jinja, which is no file"):
        LocalModel.load(chat_template="nowhere.jinja")


def test_a_tokenizer_of_ones_own_brings_its_templates_and_ends(tmp_path, quickly):
    texts = whole(tmp_path / "texts")
    settings = {"rows": 1, "context": 64, "mesh": "data=1", "compile_cache": None}
    conversation = [[{"role": "user", "content": "The quick brown fox"}]]
    with LocalModel.load(texts, **settings) as model:
        (wanted,) = model.generate(conversation, GREEDY, max_tokens=8)
    # Its vocabulary is cut in a way that nobody knows.
    file = from_hub(texts, tmp_path / "model.gguf", {"tokenizer.ggml.pre": "of another"})
    (texts / "model.safetensors").unlink()
    with LocalModel.load(file, tokenizer=texts, **settings) as model:
        assert model.generate(conversation, GREEDY, max_tokens=8) == [wanted]
    ids = [token.id for token in wanted.choices[0].tokens]
    end = ids[-1]
    (texts / "generation_config.json").write_text(f'{{"eos_token_id": {end}}}')
    with LocalModel.load(file, tokenizer=texts, **settings) as model:
        (answer,) = model.generate(conversation, GREEDY, max_tokens=8)
    assert [token.id for token in answer.choices[0].tokens] == ids[: ids.index(end)]
    assert answer.choices[0].finish_reason == "stop"


class Broken:
    """A device that compiles, and fails at the first step."""

    def compile(self, on_progress) -> None:
        on_progress(0, 2, "compiling")
        on_progress(2, 2, "")

    def execute(self, plan):
        raise MemoryError("no room on the device")


def broken_model() -> LocalModel:
    directory = bundled_model()
    tokenizer = load_tokenizer(directory, load_model(directory, make_mesh()).config)
    config, info = EngineConfig(64, 1024, 8), EngineInfo(64, tokenizer.vocab_size, "fp_test")
    runner = Broken()
    loaded = LoadedEngine(Engine(runner, config, info), runner, tokenizer, frozenset({3}))
    template = load_chat_template(directory, tokenizer.named)
    return LocalModel(loaded, Renderer(tokenizer, template), progress=True)


def test_a_failed_engine_is_told_with_its_reason(capsys):
    model = broken_model()
    assert re.search(r"compiling: .* 2/2 ", capsys.readouterr().err)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"engine has failed .*no room on the device"):
            model.generate(["Hello"] * 3)
    model.close()


def test_a_closed_model_is_of_no_use():
    with broken_model() as model:
        pass
    with pytest.raises(RuntimeError, match="the model is closed"):
        model.generate(["Hello"])
    model.close()


def test_the_example_of_the_readme_runs(cache_home):
    page = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = re.findall(r"```python\n([^`]*serve\.offline[^`]*)```", page)
    ended = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(cache_home)},
    )
    assert ended.returncode == 0, ended.stderr
    assert "7 + 5 = 12" in ended.stdout
