"""Thoughts before an answer: every mask, the budget, and what comes after, in random walks."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from serve.engine.types import Constraint, ConstraintError, Matcher
from serve.grammar.after_thoughts import AfterThoughts, ThoughtMarkers
from serve.grammar.compiler import Grammar, GrammarCompiler
from serve.text.calls.events import Content
from serve.text.thoughts.detect import THINK
from serve.text.thoughts.parser import ThoughtParser

END = 256
PIECES = (
    b"<think>",
    b"</th",
    b"ink>",
    b"k>\n",
    b">\n\n",
    b">x",
    b"ink>\n y",
    b"</think>!",
    b"\n\n",
)


class Tokens:
    """Bytes, an end of the turn, then pieces; the first two may be control tokens."""

    def __init__(self, controls: Sequence[str] = ()) -> None:
        self.pieces = [*(each.encode() for each in controls), *PIECES]
        self.controls: Mapping[str, int] = {name: 257 + n for n, name in enumerate(controls)}

    @property
    def vocab_size(self) -> int:
        return 257 + len(self.pieces)

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes | None:
        if token >= 257:
            return self.pieces[token - 257]
        return bytes([token]) if token < 256 else None


TAGS = ("<think>", "</think>")
VOCABULARIES = [pytest.param(TAGS, id="tokens"), pytest.param((), id="characters")]


def compiled(controls: Sequence[str]) -> tuple[Tokens, ThoughtMarkers, Constraint]:
    """A vocabulary, its markers, and a grammar of answers."""
    tokens: Any = Tokens(controls)
    ends = frozenset([END])
    markers = ThoughtMarkers(tokens, tokens.vocab_size, ends, *TAGS)
    compiler = GrammarCompiler(tokens, tokens.vocab_size, ends)
    return tokens, markers, compiler.begin().compile(Grammar.regex("[ab]{2,4}x"))


def allowed(matcher: Matcher, size: int) -> list[int]:
    words = np.full(-(-size // 32), 0xFFFFFFFF, np.uint32)
    matcher.fill(words)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    assert not bits[size:].any()
    return np.flatnonzero(bits).tolist()


def walked(matcher: Matcher, tokens: Tokens, draw: random.Random, most: int = 60) -> list[int]:
    """A random answer whose masks agree with what else the matcher says."""
    said: list[int] = []
    while len(said) < most and not matcher.finished:
        mask = allowed(matcher, tokens.vocab_size)
        assert (END in mask) == matcher.accepting
        for token in (*draw.sample(range(256), 8), *range(257, tokens.vocab_size)):
            assert (matcher.allows([token]) == 1) == (token in mask), token
        forced = matcher.forced()
        assert not forced or mask == forced[:1]
        assert matcher.allows(forced) == len(forced)
        liked = [token for token in mask if token >= END or chr(token) in "</think> ab"]
        token = draw.choice(liked if liked and draw.random() < 0.7 else mask)
        if token == END:
            break
        ahead = matcher.copy()
        matcher.accept(token)
        ahead.accept(token)
        assert allowed(ahead, tokens.vocab_size) == allowed(matcher, tokens.vocab_size)
        said.append(token)
    return said


def parsed(tokens: Tokens, said: Sequence[int], *, thinking: bool) -> str | None:
    """What is said after the thoughts; None where they have not ended."""
    parser = ThoughtParser(THINK, tokens.controls, "thinking" if thinking else "undecided")
    names = {token: name for name, token in tokens.controls.items()}
    events: list[Any] = []
    for token in said:
        text = (tokens.token_bytes(token) or b"").decode("latin-1")
        events += parser.feed_control(names[token], text) if token in names else parser.feed(text)
    if parser.thinking:
        return None
    events += parser.flush(turn_ended=True)
    return "".join(event.text for event in events if isinstance(event, Content))


@pytest.mark.parametrize("controls", VOCABULARIES)
@pytest.mark.parametrize("thinking", [False, True], ids=["undecided", "thinking"])
def test_what_comes_after_the_thoughts_follows_the_grammar(
    controls: Sequence[str], thinking: bool
) -> None:
    tokens, markers, inner = compiled(controls)
    draw = random.Random(1)
    finished = thought = 0
    for _ in range(60):
        matcher = AfterThoughts(markers, thinking, 6, inner).matcher()
        said = walked(matcher, tokens, draw)
        content = parsed(tokens, said, thinking=thinking)
        if content is None:
            assert not matcher.accepting
        elif matcher.finished or matcher.accepting:
            finished += 1
            thought += len(said) > 5
            assert 3 <= len(content) <= 5
            assert content.strip("ab") == "x"
    assert finished > 40
    # Where thoughts are opened in characters, an answer with a form has none.
    assert thought > 10 or not (controls or thinking)


@pytest.mark.parametrize("budget", [0, 1, 2, 7])
@pytest.mark.parametrize("thinking", [False, True], ids=["undecided", "thinking"])
def test_the_budget_holds_to_the_token(budget: int, thinking: bool) -> None:
    tokens, markers, _ = compiled(TAGS)
    opening, closing = tokens.controls.values()
    draw = random.Random(budget)
    used: list[int] = []
    for _ in range(60):
        matcher = AfterThoughts(markers, thinking, budget).matcher()
        if not thinking:
            matcher.accept(opening)
        used.append(walked(matcher, tokens, draw, 20).index(closing))
    assert max(used) == budget


@pytest.mark.parametrize("budget", [0, 3])
def test_a_closing_marker_in_characters_is_forced_whole(budget: int) -> None:
    tokens, markers, _ = compiled(())
    matcher = AfterThoughts(markers, thinking=True, budget=budget).matcher()
    for token in b"</x"[:budget]:
        matcher.accept(token)
    assert bytes(matcher.forced()) == b"</think>"
    for token in b"</think>":
        assert allowed(matcher, tokens.vocab_size) == [token]
        assert not matcher.accepting
        matcher.accept(token)
    assert matcher.accepting
    assert len(allowed(matcher, tokens.vocab_size)) == tokens.vocab_size


def test_thoughts_opened_in_characters_have_a_budget_too() -> None:
    _, markers, _ = compiled(())
    matcher = AfterThoughts(markers, thinking=False, budget=2).matcher()
    for token in b" \n<think>ab":
        assert not matcher.forced()
        matcher.accept(token)
    assert bytes(matcher.forced()) == b"</think>"


def test_what_is_beyond_the_budget_is_refused() -> None:
    _, markers, _ = compiled(TAGS)
    matcher = AfterThoughts(markers, thinking=True, budget=0).matcher()
    with pytest.raises(ConstraintError, match="token 97 is thought beyond the budget"):
        matcher.accept(ord("a"))
