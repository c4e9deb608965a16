"""Words kept out of answers: every mask against brute force, whatever the vocabulary."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from support.byte_tokens import Bytes, byte_compiler

from serve.engine.types import Constraint, ConstraintError, Matcher
from serve.grammar.banned_words import WordBans
from serve.grammar.compiler import Grammar

END, CONTROL = 0, 1


class Pieces:
    """A tokenizer of given pieces after an end token, which has a text, and a control token."""

    controls: Mapping[str, int] = {"<|call|>": CONTROL}

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces: list[bytes | None] = [b"ab", None, *pieces]

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def token_bytes(self, token: int) -> bytes | None:
        return self.pieces[token]


def bans_of(pieces: Sequence[bytes], padding: int = 0) -> WordBans:
    tokenizer = Pieces(pieces)
    return WordBans(tokenizer, tokenizer.vocab_size + padding, frozenset([END]))  # pyright: ignore


def allowed(matcher: Matcher, size: int) -> set[int]:
    words = np.full(-(-size // 32), 0xFFFFFFFF, np.uint32)
    matcher.fill(words)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    assert not bits[size:].any()
    return set(np.flatnonzero(bits).tolist())


def walk(
    constraint: Constraint, words: Sequence[str], pieces: Sequence[bytes], draw: random.Random
):
    """A random answer, of which every mask is what brute force says."""
    size = len(pieces) + 2
    texts = [b"", b"", *pieces]
    matcher, text = constraint.matcher(), b""
    spelled = [word.encode() for word in words]
    for _ in range(40):
        found = allowed(matcher, size)
        wanted = {
            token
            for token, piece in enumerate(texts)
            if not any(word in text + piece for word in spelled)
        }
        assert found == wanted, (text, words)
        assert matcher.accepting
        assert not matcher.finished
        assert {END, CONTROL} <= found
        # Tokens that get nearer to a word rather than any.
        near = [t for t in found - {END} if any(w in text[-9:] + texts[t] + w[1:] for w in spelled)]
        token = draw.choice(near if near and draw.random() < 0.5 else sorted(found - {END}))
        matcher.accept(token)
        text += texts[token]
    assert not any(word in text.decode(errors="replace") for word in words)


SIGNS = "aab é日🦊"


def drawn_pieces(draw: random.Random) -> list[bytes]:
    """Pieces of several characters, all single bytes of the alphabet, halves of characters."""
    single = sorted({bytes([byte]) for byte in SIGNS.encode()})
    texts = {"".join(draw.choices(SIGNS, k=draw.randint(1, 5))).encode() for _ in range(60)}
    halves = {text[draw.randrange(len(text)) :] for text in texts}
    pieces = [*single, *sorted(texts | halves), b"\xff", b"", *single[:2]]
    draw.shuffle(pieces)
    return pieces


@pytest.mark.parametrize("seed", range(30))
def test_masks_are_those_of_brute_force(seed: int) -> None:
    draw = random.Random(seed)
    pieces = drawn_pieces(draw)
    words = [
        "".join(draw.choices(SIGNS, k=draw.choice([1, 2, 3, 3, 7])))
        for _ in range(draw.randint(1, 6))
    ]
    constraint = bans_of(pieces).constraint(words, None)
    for _ in range(4):
        walk(constraint, words, pieces, draw)


@pytest.mark.parametrize(
    "words",
    [["aaa"], ["abab", "ababab"], ["aab", "aaab"], ["bab", "abba", "a b"], ["é"], ["日日", "é日é"]],
    ids=["aaa", "one in another", "ends of each other", "several", "a character", "bytes"],
)
def test_words_that_overlap_themselves_and_each_other(words: list[str]) -> None:
    draw = random.Random(7)
    pieces = [bytes([byte]) for byte in sorted(set("ab é日".encode()))]
    pieces += [b"aa", b"ab", b"ba", b"aba", "é".encode()[1:] + b"a", "日".encode()[:2], b"aaaa"]
    constraint = bans_of(pieces).constraint(words, None)
    for _ in range(30):
        walk(constraint, words, pieces, draw)


def test_many_states_are_forgotten_and_found_again() -> None:
    """More ways into words than are kept: 600 states, one row each."""
    words = ["".join(random.Random(n).choices("ab", k=40)) for n in range(16)]
    pieces = [b"a", b"b", b"ab", b"bba"]
    constraint = bans_of(pieces).constraint(words, None)
    for word in words * 2:
        matcher = constraint.matcher()
        for letter in word[:-1]:
            matcher.accept(2 + "ab".index(letter))
        last = "ab".index(word[-1])
        assert 2 + last not in allowed(matcher, 6)
        assert 3 - last in allowed(matcher, 6)
    assert len(constraint._rows._kept) <= 256  # pyright: ignore


def test_tokens_that_stand_for_nothing_are_never_banned() -> None:
    """Ids past the tokenizer's are padding of the model."""
    matcher = bans_of([b"a", b"b"], padding=40).constraint(["a"], None).matcher()
    assert allowed(matcher, 44) == set(range(44)) - {2}


def test_a_control_token_does_not_break_a_word() -> None:
    """The client's text has the letters side by side."""
    matcher = bans_of([b"a", b"b"]).constraint(["ab"], None).matcher()
    matcher.accept(2)
    matcher.accept(CONTROL)
    assert allowed(matcher, 4) == {END, CONTROL, 2}


def test_each_choice_follows_its_own_text() -> None:
    constraint = bans_of([b"a", b"b"]).constraint(["ab"], None)
    first, second = constraint.matcher(), constraint.matcher()
    first.accept(2)
    assert allowed(second, 4) == {END, CONTROL, 2, 3}
    assert allowed(first, 4) == {END, CONTROL, 2}


def test_a_token_that_completes_a_word_is_refused() -> None:
    matcher = bans_of([b"a", b"b"]).constraint(["ab"], None).matcher()
    matcher.accept(2)
    with pytest.raises(ConstraintError, match="completes one of bad_words"):
        matcher.accept(3)


def test_a_word_in_another_counts_before_that_is_whole() -> None:
    matcher = bans_of([b"a", b"b"]).constraint(["bab", "a"], None).matcher()
    matcher.accept(3)
    assert allowed(matcher, 4) == {END, CONTROL, 3}
    with pytest.raises(ConstraintError, match="completes one of bad_words"):
        matcher.accept(2)


# --- beside a grammar -------------------------------------------------------------------------

BANS = WordBans(Bytes(), 257, frozenset([256]))  # pyright: ignore[reportArgumentType]
COMPILER = byte_compiler()


def both(regex: str, *words: str) -> Matcher:
    return BANS.constraint(words, COMPILER.begin().compile(Grammar.regex(regex))).matcher()


def test_beside_a_grammar_both_hold() -> None:
    matcher = both("(cat|cow|dog)s?", "cow", "gs")
    for letter, following in zip("dog", ["cd", "o", "g"], strict=True):
        assert allowed(matcher, 257) == set(following.encode())
        assert not matcher.accepting
        matcher.accept(ord(letter))
    assert matcher.accepting
    # An 's' would be 'gs'; the grammar lets the answer end here.
    assert allowed(matcher, 257) == {256}


def test_it_ends_where_the_grammar_does() -> None:
    matcher = both("ab", "c")
    matcher.accept(ord("a"))
    matcher.accept(ord("b"))
    assert matcher.finished


def test_where_both_leave_nothing_it_is_told() -> None:
    matcher = both("ab", "ab")
    assert allowed(matcher, 257) == {ord("a")}
    matcher.accept(ord("a"))
    with pytest.raises(ConstraintError, match="bad_words bans every token"):
        allowed(matcher, 257)


def test_a_grammar_that_is_not_followed_is_told_by_itself() -> None:
    matcher = both("ab", "c")
    with pytest.raises(ConstraintError, match="grammar"):
        matcher.accept(ord("x"))
