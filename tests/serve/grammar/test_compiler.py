"""Grammars to masks: against brute force, under bombs, and with every kind of token."""

import itertools
import json
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from model.tokenizer import Tokenizer
from serve.engine.types import ConstraintError
from serve.grammar.compiler import Grammar, GrammarCompiler, GrammarLimits, vocabulary_of
from serve.grammar.library import GrammarError
from serve.grammar.matcher import CompiledGrammar, GrammarMatcher
from serve.grammar.trial import Allowance

CONTROLS = {"<|call|>": 1, "<|end|>": 0}
END = 0


class Pieces:
    """A tokenizer of given pieces after two control tokens; encodes by the longest piece."""

    controls: Mapping[str, int] = CONTROLS

    def __init__(self, pieces: Sequence[bytes], before: str = "") -> None:
        self.pieces: list[bytes | None] = [None, None, *pieces]
        self.before = before

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        rest, ids = (self.before + text).encode(), []
        while rest:
            fitting = [i for i, p in enumerate(self.pieces) if p and rest.startswith(p)]
            ids.append(max(fitting, key=lambda i: (len(self.pieces[i] or b""), i)))
            rest = rest[len(self.pieces[ids[-1]] or b"") :]
        return ids

    def token_bytes(self, token: int) -> bytes | None:
        return self.pieces[token]

    def token_text(self, token: int) -> str:
        return repr(self.pieces[token])


def compiler_of(tokenizer: Tokenizer, padding: int = 0, **limits: float) -> GrammarCompiler:
    size = tokenizer.vocab_size + padding
    return GrammarCompiler(tokenizer, size, frozenset([END]), GrammarLimits(**limits))


def allowed(matcher: GrammarMatcher, size: int) -> set[int]:
    words = np.full(-(-size // 32), 0xFFFFFFFF, np.uint32)
    matcher.fill(words)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    assert not bits[size:].any()
    return set(np.flatnonzero(bits).tolist())


def check_everywhere(tokenizer: Pieces, grammar: Grammar, language: set[bytes]) -> int:
    """Every way through the grammar, token by token, against the list of its sentences.

    Where only one text is left the mask may hold just the model's own spelling of it.
    """
    size = tokenizer.vocab_size + 40
    constraint = compiler_of(tokenizer, padding=40).begin().compile(grammar)
    waiting: list[tuple[bytes, list[int]]] = [(b"", [])]
    sentences: set[bytes] = set()
    while waiting:
        text, ids = waiting.pop()
        matcher = constraint.matcher()
        for token in ids:
            matcher.accept(token)
        possible = {
            token
            for token, piece in enumerate(tokenizer.pieces)
            if piece and any(sentence.startswith(text + piece) for sentence in language)
        }
        may_end = text in language
        assert matcher.accepting == may_end
        assert matcher.finished == (may_end and not possible)
        if may_end:
            sentences.add(text)
            possible.add(END)
        found = allowed(matcher, size)
        assert found <= possible
        assert found == possible or len(found) == 1, (text, found, possible)
        waiting += [
            (text + (tokenizer.pieces[token] or b""), [*ids, token]) for token in found - {END}
        ]
    assert sentences == language
    return len(sentences)


WORDS = Pieces([bytes([n]) for n in b'ab"{}:,019-'] + [b"ab", b'"a', b'":', b"10", b"},", b"bb"])


@pytest.mark.parametrize(
    ("pattern", "language"),
    [
        ("ab?(a|bb)", ["aa", "abb", "aba", "abbb"]),
        ("(a|b){1,2}", ["a", "b", "aa", "ab", "ba", "bb"]),
        ("ab", ["ab"]),
        ("(ab)?", ["", "ab"]),
        ("1?[01]0", ["00", "10", "100", "110"]),
    ],
)
def test_masks_of_a_regex_are_those_of_brute_force(pattern: str, language: list[str]) -> None:
    texts = {text.encode() for text in language}
    assert check_everywhere(WORDS, Grammar.regex(pattern), texts) == len(language)


def test_masks_of_a_schema_are_those_of_brute_force() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [0, 1, 10, "b"]}, "b": {"const": "a"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    values = ["0", "1", "10", '"b"']
    language = {f'{{"a":{value}{more}}}'.encode() for value in values for more in ("", ',"b":"a"')}
    assert check_everywhere(WORDS, Grammar.json_schema(schema), language) == 8


def test_masks_of_lark_are_those_of_brute_force() -> None:
    grammar = Grammar.lark('start: pair ("," pair)?\npair: "a" ":" /[01]/')
    pairs = ["a:0", "a:1"]
    language = {*pairs, *map(",".join, itertools.product(pairs, repeat=2))}
    assert check_everywhere(WORDS, grammar, {text.encode() for text in language}) == 6


def test_characters_in_byte_pieces_are_followed_byte_by_byte() -> None:
    pieces = Pieces([bytes([n]) for n in '"é😀x'.encode()] + ["😀".encode()[:2], "é".encode()])
    language = {json.dumps(text, ensure_ascii=False).encode() for text in ("é", "😀", "x😀")}
    schema = Grammar.json_schema({"enum": ["é", "😀", "x😀"]})
    assert check_everywhere(pieces, schema, language) == 3


def test_a_tokenizer_that_puts_spaces_before_texts_leads_nobody_astray() -> None:
    spaced = Pieces([bytes([n]) for n in b" ab"] + [b" a", b"ab", b" ab"], before=" ")
    assert check_everywhere(spaced, Grammar.regex("abab"), {b"abab"}) == 1
    assert check_everywhere(spaced, Grammar.regex("a b"), {b"a b"}) == 1


def test_a_grammar_of_any_spelling_has_all_spellings_of_the_only_text() -> None:
    pieces = Pieces([b"a", b"b", b"ab"])
    for any_spelling, found in ((False, {4}), (True, {2, 4})):
        grammar = Grammar.lark('start: "abab"', any_spelling=any_spelling)
        assert allowed(compiler_of(pieces).begin().compile(grammar).matcher(), 5) == found


def test_text_never_becomes_a_control_token_and_a_grammar_can_ask_for_one() -> None:
    letters = Pieces([bytes([n]) for n in b'<|cal>end"'])
    compiler = compiler_of(letters)
    spelled = compiler.begin().compile(Grammar.json_schema({"const": "<|call|>"}))
    assert not allowed(spelled.matcher(), letters.vocab_size) & set(CONTROLS.values())
    free = compiler.begin().compile(Grammar.regex("(.|\n)*")).matcher()
    assert allowed(free, letters.vocab_size) == {END, *range(2, letters.vocab_size)}
    asking = compiler.begin().compile(Grammar.lark('start: <|call|> "a"')).matcher()
    assert allowed(asking, letters.vocab_size) == {CONTROLS["<|call|>"]}
    asking.accept(CONTROLS["<|call|>"])
    assert letters.pieces[min(allowed(asking, letters.vocab_size))] == b"a"


def test_ids_past_the_tokenizer_and_odd_bytes_are_never_text() -> None:
    odd = Pieces([b"a", b"\xff", b""])
    vocabulary = vocabulary_of(odd, 7, frozenset([END]))
    assert vocabulary.special == [0, 1, 5, 6]
    matcher = compiler_of(odd, padding=2).begin().compile(Grammar.regex("(.|\n)*")).matcher()
    assert allowed(matcher, 7) == {END, 2}


def test_choices_have_matchers_of_their_own() -> None:
    constraint = compiler_of(WORDS).begin().compile(Grammar.regex("(a|b){2}"))
    first, second = constraint.matcher(), constraint.matcher()
    for token in WORDS.encode("a"), WORDS.encode("a"):
        first.accept(token[0])
    assert first.finished
    assert not second.accepting
    assert allowed(constraint.matcher(), WORDS.vocab_size) == allowed(second, WORDS.vocab_size)


def test_equal_grammars_are_compiled_once() -> None:
    compiler = compiler_of(WORDS)
    schema = {"enum": ["a", "b"]}
    one = compiler.begin().compile(Grammar.json_schema(schema))
    assert compiler.begin().compile(Grammar.json_schema(dict(schema))) is one
    assert compiler.begin().compile(Grammar.json_schema({"enum": ["b", "a"]})) is not one


def follow(constraint: CompiledGrammar, size: int, masks: int) -> None:
    """Make so many masks along answers, one answer after the other."""
    words = np.zeros(-(-size // 32), np.uint32)
    matcher = constraint.matcher()
    for _ in range(masks):
        if matcher.finished:
            matcher = constraint.matcher()
        matcher.fill(words)
        matcher.accept(
            int(np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))[-1])
        )


def test_a_grammar_is_compiled_anew_before_it_wears_out() -> None:
    """What is known of a grammar is kept for all who follow it: answers without end fill that."""
    grammar = Grammar.regex("(a|b){5000,9000}")
    compiler = compiler_of(WORDS)
    first = compiler.begin().compile(grammar)
    follow(first, WORDS.vocab_size, 1_999)
    assert compiler.begin().compile(grammar) is first
    follow(first, WORDS.vocab_size, 1)
    second = compiler.begin().compile(grammar)
    assert second is not first
    # Answers that began with the old one go on, and no trial is wanted again.
    follow(first, WORDS.vocab_size, 10)
    assert compiler.compile(grammar, Allowance(0)) is second


def test_a_grammar_that_has_failed_is_compiled_anew() -> None:
    compiler = compiler_of(WORDS)
    grammar = Grammar.regex("a{3}")
    first = compiler.begin().compile(grammar)
    with pytest.raises(ConstraintError, match="cannot be followed any further"):
        first.matcher().accept(WORDS.encode("b")[0])
    second = compiler.begin().compile(grammar)
    assert second is not first
    follow(second, WORDS.vocab_size, 3)


def test_what_answers_cost_is_counted_and_too_much_is_refused() -> None:
    compiler = compiler_of(WORDS)
    grammar = Grammar.regex("a{9}")
    constraint = compiler.begin().compile(grammar)
    # Half a second, and 5 ms for each of 4 masks.
    follow(constraint, WORDS.vocab_size, 4)
    for _ in range(3):
        constraint.ledger.add(0.17)
    follow(constraint, WORDS.vocab_size, 1)
    constraint.ledger.add(0.02)
    with pytest.raises(ConstraintError, match="too much time to follow"):
        constraint.matcher().fill(np.zeros(9, np.uint32))
    with pytest.raises(GrammarError, match="too much time to follow"):
        compiler.begin().compile(grammar)


def test_a_machine_that_stood_still_is_no_fault_of_a_grammar() -> None:
    constraint = compiler_of(WORDS).begin().compile(Grammar.regex("a{9}"))
    constraint.ledger.add(60.0, masks=1)
    assert not constraint.ledger.overdrawn
    constraint.ledger.add(60.0, masks=1)
    constraint.ledger.add(60.0, masks=1)
    assert constraint.ledger.overdrawn


def test_the_least_recently_used_grammar_is_forgotten() -> None:
    compiler = compiler_of(WORDS, remembered=2)
    a, b, c = map(Grammar.regex, ("a", "b", "ab"))
    kept = compiler.begin().compile(a)
    dropped = compiler.begin().compile(b)
    assert compiler.begin().compile(a) is kept
    compiler.begin().compile(c)
    assert compiler.begin().compile(a) is kept
    assert compiler.begin().compile(b) is not dropped


def test_the_grammars_of_a_request_share_its_time() -> None:
    compiler = compiler_of(WORDS, seconds=0.5)
    known = compiler.begin().compile(Grammar.regex("a"))
    compilation = compiler.begin()
    for grammar in (BOMBS["large divisor"], Grammar.regex("b")):
        with pytest.raises(GrammarError, match="too much time to compile"):
            compilation.compile(grammar)
    assert compilation.compile(Grammar.regex("a")) is known
    assert compiler.begin().compile(Grammar.regex("b"))


BOMBS = {
    "patterns that must hold together": Grammar.json_schema(
        {"allOf": [{"type": "string", "pattern": f".*a.{{{n}}}b.*"} for n in range(3, 25)]}
    ),
    "large divisor": Grammar.json_schema({"type": "integer", "multipleOf": 999_983}),
    "divisors without a common one": Grammar.json_schema(
        {"allOf": [{"type": "integer", "multipleOf": n} for n in (97, 101, 103, 107)]}
    ),
    "alternatives": Grammar.lark("start: " + "|".join(f'"a{n}"' for n in range(100_000))),
    "references without an end": Grammar.json_schema(
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    ),
    "exponential merging": Grammar.json_schema(
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                f"d{n}": {
                    "allOf": [
                        {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"required": [f"{side}{n}"]}]}
                        for side in "lr"
                    ]
                }
                for n in range(30)
            }
            | {"d30": {"type": "object"}},
        }
    ),
    "nested bounds": Grammar.regex("((((a{1,30}){1,30}){1,30}){1,30}){1,30}"),
    "exponential length": Grammar.lark(
        "start: a0\n" + "".join(f"a{n}: a{n + 1} a{n + 1}\n" for n in range(40)) + 'a40: "b"'
    ),
    "deep recursion": Grammar.regex("(" * 5_000 + "a" + ")" * 5_000),
}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return compiler_of(WORDS, seconds=0.5)


@pytest.mark.parametrize("bomb", BOMBS, ids=str)
def test_a_bomb_is_refused_and_the_next_grammar_compiles(
    compiler: GrammarCompiler, bomb: str
) -> None:
    with pytest.raises(GrammarError):
        compiler.begin().compile(BOMBS[bomb])
    assert compiler.begin().compile(Grammar.regex("a+")).matcher().accepting is False


def test_a_large_grammar_is_refused_unread() -> None:
    compiler = compiler_of(WORDS, source_bytes=1_000)
    with pytest.raises(GrammarError, match=r"bytes and at most 1,000 are allowed"):
        compiler.begin().compile(Grammar.regex("a" * 1_000))


def test_a_model_that_cannot_end_an_answer_follows_no_grammar() -> None:
    compiler = GrammarCompiler(WORDS, WORDS.vocab_size, frozenset())
    with pytest.raises(GrammarError, match="no token that could end"):
        compiler.begin().compile(Grammar.regex("a"))


def test_grammars_are_compiled_on_threads_of_the_compiler() -> None:
    compiler = compiler_of(WORDS)
    name = compiler.soon(lambda _: threading.current_thread().name).result()
    assert name.startswith("grammar")
