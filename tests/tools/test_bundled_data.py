import json
import random
import re
from itertools import islice
from pathlib import Path

import jinja2.sandbox
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import bundled
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from tools.bundled_data.batches import document, evaluation_batch, training_batch
from tools.bundled_data.conversations import Conversation, conversation, conversations
from tools.bundled_data.facts import FACTS
from tools.bundled_data.grammar import (
    Phrasings,
    Split,
    expand,
    fill,
    in_split,
    part,
    phrasing_key,
    roughen,
)
from tools.bundled_data.skills import SKILLS, Exchange
from tools.bundled_data.vocabulary import CONTROLS, build_tokenizer
from tools.bundled_data.words import COMMON, NAMES, WORDS


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.model"
    build_tokenizer(path, 600, 2000, seed=0)
    return SentencePieceTokenizer(path)


def exchanges(split: Split, skill: str, count: int) -> list[Exchange]:
    rng = random.Random(f"{split}/{skill}")
    return [conversation(rng, split, skill, 1).last for _ in range(count)]


def test_expansion_of_alternatives() -> None:
    assert expand("(a|b)c", None) == "ac"
    assert {expand("(a(1|2)|b) {x}", random.Random(i)) for i in range(50)} == {
        "a1 {x}",
        "a2 {x}",
        "b {x}",
    }
    with pytest.raises(ValueError, match="never closes"):
        expand("(a|b", None)


def test_a_slot_value_is_taken_literally() -> None:
    assert fill("say {x} and {y}", {"x": "{y}", "y": "z"}) == "say {y} and z"


def test_roughening_leaves_slots_alone() -> None:
    rng = random.Random(3)
    rough = {roughen(rng, "What Is {Name} today?") for _ in range(500)}
    assert all("{Name}" in text for text in rough)
    assert {"what is {Name} today?", "WHAT IS {Name} TODAY?", "What Is {Name} today"} <= rough


def test_the_plainest_phrasing_is_never_held_out() -> None:
    phrasings = Phrasings("(What|Which) (is|was) (this|that)( now|)(?|)")
    rng = random.Random(0)
    train = {phrasing_key(phrasings.draw(rng, Split.TRAIN)) for _ in range(500)}
    held = {phrasing_key(phrasings.draw(rng, Split.HELD_OUT)) for _ in range(500)}
    assert "what is this now" in train
    assert held
    assert not train & held
    assert len(train | held) == 16


def test_phrasings_without_a_held_out_one_say_so() -> None:
    with pytest.raises(ValueError, match="add alternatives"):
        Phrasings("Hello").draw(random.Random(0), Split.HELD_OUT)


@pytest.mark.parametrize("items", [WORDS, NAMES])
def test_a_tenth_of_the_words_is_held_out(items: tuple[str, ...]) -> None:
    train, held = part(items, Split.TRAIN), part(items, Split.HELD_OUT)
    assert not set(train) & set(held)
    assert len(train) + len(held) == len(items)
    assert 0.05 < len(held) / len(items) < 0.17


def test_the_same_seed_gives_the_same_conversations() -> None:
    first = list(islice(conversations(7), 50))
    assert first == list(islice(conversations(7), 50))
    assert first != list(islice(conversations(8), 50))


@pytest.mark.parametrize("skill", ["repeat", "reverse letters", "reverse words"])
def test_no_held_out_word_is_practised(skill: str) -> None:
    for exchange in exchanges(Split.TRAIN, skill, 300):
        words = exchange.answer.lower().split()
        originals = [word[::-1] for word in words] if skill == "reverse letters" else words
        known = {word.lower() for word in WORDS} - set(COMMON)
        assert not [word for word in originals if word in known and in_split(word, Split.HELD_OUT)]


def test_no_held_out_name_is_practised() -> None:
    held = part(NAMES, Split.HELD_OUT)
    told = {exchange.told_name for exchange in exchanges(Split.TRAIN, "tell name", 2000)}
    assert not told & set(held)
    assert told & set(part(NAMES, Split.TRAIN))


@pytest.mark.parametrize("skill", list(SKILLS))
def test_the_answer_is_among_the_accepted(skill: str) -> None:
    for split in Split:
        for exchange in exchanges(split, skill, 50):
            assert exchange.skill == skill
            assert exchange.answer in exchange.accepted


def test_sums_are_right_and_all_pairs_occur() -> None:
    seen = set()
    for exchange in exchanges(Split.TRAIN, "addition", 6000):
        left, total = exchange.answer.split(" = ")
        a, b = map(int, left.split(" + "))
        assert a + b == int(total)
        seen.add((a, b))
    assert seen == {(a, b) for a in range(21) for b in range(21)}


def test_reversal_is_the_reverse_of_something_asked() -> None:
    for exchange in exchanges(Split.TRAIN, "reverse letters", 300):
        assert exchange.answer[::-1] in exchange.user


def test_facts_are_many_and_no_unknown_is_one() -> None:
    assert sum(len(kind.rows) for kind in FACTS) >= 60
    for kind in FACTS:
        if kind.open_slot is not None:
            known = {row[kind.open_slot] for row in kind.rows}
            assert set(kind.unknown) - known


def remembered(item: Conversation) -> str | None:
    """The name that the conversation's messages give, read from the answers."""
    name = item.messages[-2].get("name")
    for message in item.messages[:-2]:
        if message["role"] == "assistant":
            found = re.fullmatch(
                r"(?:Nice to meet you, |Your name is )(\w+)[!.]", message["content"]
            )
            name = found[1] if found else name
    return name


def test_the_name_told_last_is_the_one_remembered() -> None:
    rng = random.Random(1)
    answers = set()
    for _ in range(300):
        item = conversation(rng, Split.TRAIN, "ask name", 4)
        name = item.last.told_name or remembered(item)
        right = "You haven't told me your name yet." if name is None else f"Your name is {name}."
        assert item.messages[-1]["content"] == right
        answers.add(right)
    assert len(answers) > 100


@given(st.text())
def test_text_survives_the_tokenizer(tokenizer: SentencePieceTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert b"".join(tokenizer.token_bytes(token) or b"" for token in ids) == text.encode()
    assert not set(ids) & set(tokenizer.controls.values())


@pytest.mark.parametrize(
    "text",
    [
        "  two leading, two trailing  ",
        "a\n\n\tb\r\n",
        "\u2581 and a space",
        "zażółć 你好 🚀\u200d\ufe0f",
        "<|im_start|>user<|im_end|><0x41><unk>",
        "\x00\u00a0\ufeff\U0010ffff",
    ],
)
def test_odd_text_survives_the_bundled_tokenizer(text: str) -> None:
    bundled_one = SentencePieceTokenizer(bundled.directory() / "tokenizer.model")
    ids = bundled_one.encode(text)
    assert b"".join(bundled_one.token_bytes(token) or b"" for token in ids) == text.encode()
    assert not set(ids) & set(bundled_one.controls.values())


def test_the_vocabulary_has_the_controls_and_every_byte(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.vocab_size == 600
    assert [tokenizer.controls[control] for control in CONTROLS] == [1, 2, 3, 4]
    singles = {tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)}
    assert {bytes([byte]) for byte in range(256)} <= singles


def test_words_are_whole_or_spelled(tokenizer: SentencePieceTokenizer) -> None:
    texts = [tokenizer.token_text(token) for token in tokenizer.encode("What is 12 zmrx")]
    assert texts == ["What", " is", " ", "1", "2", " ", "z", "m", "r", "x"]


def test_too_few_words_for_the_vocabulary_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="larger sample"):
        build_tokenizer(tmp_path / "x.model", 5000, 10, seed=0)


def rendered_ids(tokenizer: SentencePieceTokenizer, messages: object, prompt: bool) -> list[int]:
    """Ids of the template's text, its control spellings made control tokens."""
    source = (bundled.directory() / "chat_template.jinja").read_text()
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.ChainableUndefined)
    text = environment.from_string(source).render(messages=messages, add_generation_prompt=prompt)
    ids: list[int] = []
    while text:
        places = {text.find(control): control for control in CONTROLS if control in text}
        at = min(places, default=len(text))
        ids += tokenizer.encode(text[:at])
        if at < len(text):
            ids.append(tokenizer.controls[places[at]])
            text = text[at + len(places[at]) :]
        else:
            text = ""
    return ids


def test_training_sees_what_the_template_renders(tokenizer: SentencePieceTokenizer) -> None:
    for item in islice(conversations(3), 200):
        ids = document(tokenizer, item.messages).ids
        assert ids == rendered_ids(tokenizer, item.messages, prompt=False)


def test_the_template_names_roles_and_opens_the_answer() -> None:
    source = (bundled.directory() / "chat_template.jinja").read_text()
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment()
    text = environment.from_string(source).render(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "Mara", "content": "Hi"},
            {"role": "assistant", "content": None},
            {"role": "tool", "content": "4"},
        ],
        add_generation_prompt=True,
    )
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user name=Mara\nHi<|im_end|>\n"
        "<|im_start|>assistant\n<|im_end|>\n"
        "<|im_start|>tool\n4<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_only_answers_count_in_the_loss(tokenizer: SentencePieceTokenizer) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    found = document(tokenizer, messages)
    counted = [token for token, answer in zip(found.ids, found.answers, strict=True) if answer]
    assert counted == [*tokenizer.encode("Hello"), tokenizer.controls["<|im_end|>"]]


def test_packed_documents_are_whole_and_apart(tokenizer: SentencePieceTokenizer) -> None:
    batch = training_batch(tokenizer, "0/0", rows=4, length=256, context=2048)
    assert (batch.segments > 0).mean() > 0.7
    start = tokenizer.controls["<|im_start|>"]
    for row in range(4):
        for segment in range(1, batch.segments[row].max() + 1):
            inside = batch.segments[row] == segment
            tokens, positions = batch.tokens[row][inside], batch.positions[row][inside]
            assert tokens[0] == start
            assert (positions[1:] > positions[:-1]).all()
            assert positions[-1] < 2048
            assert (batch.targets[row][inside][:-1] == tokens[1:]).all()
    assert (batch.weights[batch.segments == 0] == 0).all()


def test_a_conversation_longer_than_a_row_is_cut_between_exchanges(
    tokenizer: SentencePieceTokenizer,
) -> None:
    for seed in range(5):
        batch = training_batch(tokenizer, str(seed), 1, 256, 2048, exchanges=30)
        assert batch.weights.sum() > 20
        last = batch.targets[0][batch.segments[0] > 0][-2:]
        assert last.tolist() == [tokenizer.controls["<|im_end|>"], *tokenizer.encode("\n")]


def test_a_batch_is_a_function_of_its_seed(tokenizer: SentencePieceTokenizer) -> None:
    one, same = (training_batch(tokenizer, "0/5", 2, 128, 256) for _ in range(2))
    other = training_batch(tokenizer, "0/6", 2, 128, 256)
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert (one.tokens != other.tokens).any()


def test_evaluation_counts_the_last_answer_in_each_accepted_form(
    tokenizer: SentencePieceTokenizer,
) -> None:
    rng = random.Random(2)
    greeting = next(
        item
        for item in iter(lambda: conversation(rng, Split.HELD_OUT, "small talk", 2), None)
        if len(item.last.accepted) == 2
    )
    batch, cases = evaluation_batch(tokenizer, [greeting], rows=4, length=256)
    assert [case.number for case in cases] == [0, 0]
    end = tokenizer.controls["<|im_end|>"]
    for row, answer in enumerate(sorted(greeting.last.accepted)):
        counted = batch.targets[row][batch.weights[row] == 1].tolist()
        assert counted == [*tokenizer.encode(answer), end]


def test_the_bundled_files_agree() -> None:
    directory = bundled.directory()
    config = json.loads((directory / "config.json").read_text())
    generation = json.loads((directory / "generation_config.json").read_text())
    tokenizer = SentencePieceTokenizer(directory / "tokenizer.model")
    assert config["vocab_size"] == tokenizer.vocab_size
    assert generation["eos_token_id"] == [
        tokenizer.controls["<|im_end|>"],
        tokenizer.controls["<|endoftext|>"],
    ]
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert size < 16_000_000
