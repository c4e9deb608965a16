"""What matchers say of tokens to come: against what their masks and they themselves do."""

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
from support import published_text
from support.byte_tokens import END, Bytes, byte_compiler

from serve.engine.types import Constraint, ConstraintError, Matcher
from serve.grammar.banned_words import WordBans
from serve.grammar.compiler import Grammar, GrammarCompiler
from serve.grammar.together import Together

SCHEMA = {
    "type": "object",
    "properties": {
        "temperature": {"type": "integer"},
        "kind": {"enum": ["certain", "certainly not"]},
        "only": {"const": "this and nothing else"},
        "text": {"type": "string", "maxLength": 5},
    },
    "required": ["temperature", "kind", "only", "text"],
    "additionalProperties": False,
}
GRAMMARS = {
    "schema": Grammar.json_schema(SCHEMA),
    "one text": Grammar.regex("hello world, this is it"),
    "a text that may go on": Grammar.regex("hello(, world)?"),
    "several": Grammar.regex("(hello world|help me|no)(, please)?"),
    "of any spelling": Grammar.lark('start: "hello world" " again"', any_spelling=True),
}


@pytest.fixture(scope="module", params=["bytes", "qwen3", "gemma3"])
def model(request: pytest.FixtureRequest) -> tuple[GrammarCompiler, WordBans, int, int]:
    """A compiler, bans, the size of the vocabulary and the token that ends."""
    if request.param == "bytes":
        ends = frozenset([END])
        bans = WordBans(Bytes(), 257, ends)  # pyright: ignore[reportArgumentType]
        return byte_compiler(), bans, 257, END
    tokenizer = published_text.tokenizer(request.param)
    size = tokenizer.vocab_size
    (end,) = {tokenizer.controls[name] for name in ("<|im_end|>", "<end_of_turn>")
              if name in tokenizer.controls}  # fmt: skip
    ends = frozenset([end])
    return GrammarCompiler(tokenizer, size, ends), WordBans(tokenizer, size, ends), size, end


def mask_of(matcher: Matcher, size: int) -> set[int]:
    words = np.zeros(-(-size // 32), np.uint32)
    matcher.fill(words)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    return set(np.flatnonzero(bits).tolist())


def walks(
    constraint: Constraint, size: int, end: int, seed: int
) -> tuple[list[int], list[set[int]]]:
    """A random answer by masks alone, and the masks."""
    draw = random.Random(seed)
    matcher, answer, masks = constraint.matcher(), [], []
    while not matcher.finished and len(answer) < 300:
        masks.append(mask_of(matcher, size))
        token = draw.choice(sorted(masks[-1]))
        if token == end:
            break
        matcher.accept(token)
        answer.append(token)
    return answer, masks


def check(constraint: Constraint, size: int, end: int) -> list[int]:
    """How much was forced at each place of some answers, each checked."""
    counts: list[int] = []
    for seed in range(6):
        answer, masks = walks(constraint, size, end, seed)
        matcher = constraint.matcher()
        for place, token in enumerate(answer):
            forced = matcher.forced()
            counts.append(len(forced))
            assert end not in forced
            # As the masks are without anybody's having asked.
            assert mask_of(matcher, size) == masks[place]
            assert forced == answer[place : place + len(forced)]
            assert all(len(mask) == 1 for mask in masks[place : place + len(forced)])
            assert matcher.allows(answer[place:]) == len(answer) - place
            strange = next(t for t in range(size) if t not in masks[place] and t != end)
            mixed = [*answer[place : place + 2], strange]
            assert matcher.allows(mixed) == accepted_of(matcher, mixed)
            matcher.accept(token)
    return counts


def accepted_of(matcher: Matcher, tokens: Sequence[int]) -> int:
    copied = matcher.copy()
    for count, token in enumerate(tokens):
        try:
            copied.accept(token)
        except ConstraintError:
            return count
    return len(tokens)


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_grammar(model: tuple[GrammarCompiler, WordBans, int, int], name: str) -> None:
    compiler, _, size, end = model
    counts = check(compiler.begin().compile(GRAMMARS[name]), size, end)
    assert (max(counts) > 2) is (name != "of any spelling")


@pytest.mark.parametrize("name", ["schema", "several"])
def test_with_banned_words(model: tuple[GrammarCompiler, WordBans, int, int], name: str) -> None:
    compiler, bans, size, end = model
    inner = compiler.begin().compile(GRAMMARS[name])
    assert max(check(bans.constraint(["q", "zz"], inner), size, end)) > 3


def test_of_banned_words_alone_nothing_is_forced() -> None:
    bans = WordBans(Bytes(), 257, frozenset([END]))  # pyright: ignore[reportArgumentType]
    matcher = bans.constraint(["bad"], None).matcher()
    assert matcher.forced() == []
    assert matcher.allows(b"a bad") == 4
    matcher.accept(ord("b"))
    copied = matcher.copy()
    copied.accept(ord("a"))
    assert (copied.allows(b"d"), matcher.allows(b"d"), matcher.allows(b"ad")) == (0, 1, 1)


def test_what_is_forced_ends_where_a_word_is_banned() -> None:
    inner = byte_compiler().begin().compile(Grammar.regex("hello world"))
    bans = WordBans(Bytes(), 257, frozenset([END]))  # pyright: ignore[reportArgumentType]
    assert bytes(bans.constraint(["wo"], inner).matcher().forced()) == b"hello w"


def test_together() -> None:
    compiler = byte_compiler()
    first = compiler.begin().compile(Grammar.regex("(hello world|help|no)"))
    second = compiler.begin().compile(Grammar.lark("start: /[a-n ].*/", any_spelling=True))
    third = compiler.begin().compile(Grammar.lark("start: /[a-z]* ?[a-v]*/", any_spelling=True))
    check(Together(first, second), 257, END)
    matcher = Together(first, second, third).matcher()
    assert matcher.allows(b"hello world") == len("hello ")
    assert matcher.allows(b"help") == 4
    matcher.accept(ord("h"))
    copied = matcher.copy()
    for byte in b"ello":
        copied.accept(byte)
    assert bytes(copied.forced()) == b" "
    assert matcher.allows(b"elp") == 3


def test_a_copy_goes_on_by_itself(model: tuple[GrammarCompiler, WordBans, int, int]) -> None:
    compiler, _, size, end = model
    constraint = compiler.begin().compile(GRAMMARS["several"])
    matcher = constraint.matcher()
    before = mask_of(matcher, size)
    copied = matcher.copy()
    for token in walks(constraint, size, end, 1)[0]:
        copied.accept(token)
    assert copied.accepting
    assert not matcher.accepting
    assert mask_of(matcher, size) == before


def test_what_looking_ahead_takes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    constraint = byte_compiler().begin().compile(Grammar.regex("hello"))
    matcher = constraint.matcher()
    for look in (matcher.copy, matcher.forced, lambda: matcher.allows(b"he")):
        times = itertools.count(1.0, 0.19)
        with monkeypatch.context() as patch:
            patch.setattr("time.thread_time", lambda times=times: next(times))
            for _ in range(3):
                assert not constraint.ledger.overdrawn
                look()
        assert constraint.ledger.overdrawn
        constraint.ledger.add(-3 * 0.19)


def test_what_takes_too_much_to_look_into_does_not_end_the_answer() -> None:
    constraint = byte_compiler().begin().compile(Grammar.regex("hello"))
    matcher = constraint.matcher()
    assert matcher.allows(b"hex") == 2
    assert matcher.allows([END]) == 0
    matcher.accept(ord("h"))
    assert bytes(matcher.forced()) == b"ello"
