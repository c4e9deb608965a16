"""Patterns of ECMA-262: what they match once the library has them, and where they are refused."""

import json
import os
import re
import shutil
from typing import Any

import pytest
from llguidance import LLMatcher
from support.byte_tokens import Bytes, byte_compiler
from support.ecma_patterns import PatternMaker, Verdict, ask_node

from serve.grammar.compiler import Grammar, GrammarCompiler, vocabulary_of
from serve.grammar.library import GrammarError, compile_grammar, make_tokenizer
from serve.grammar.patterns.properties import BINARY, CATEGORIES, CONTROLS, MARKS, property_named
from serve.grammar.patterns.schemas import with_patterns_spelled
from serve.grammar.patterns.search import is_found
from serve.grammar.patterns.translate import translate
from serve.grammar.patterns.tree import PatternError
from serve.grammar.schema import SchemaError, compile_schema, enforceable

TOKENIZER = make_tokenizer(vocabulary_of(Bytes(), 257, frozenset([256])))


def compiled(schema: object) -> LLMatcher:
    return compile_grammar(TOKENIZER, Grammar.json_schema(with_patterns_spelled(schema)).source)


def accepts(matcher: LLMatcher, value: object) -> bool:
    """Whether a JSON value is an answer, from the beginning on."""
    # The library writes this character as an escape only.
    answer = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("\x7f", "\\u007f")
    follower = matcher.deep_copy()
    taken = follower.try_consume_tokens(list(answer.encode()))
    assert not follower.is_error() or "fuel" not in follower.get_error()
    return taken == len(answer.encode()) and follower.is_accepting()


# Pattern, texts in which it is found, texts in which it is not.
MEANINGS: list[tuple[str, list[str], list[str]]] = [
    # Signs that set operations are written with elsewhere.
    ("^[a&&b]$", ["a", "b", "&"], ["&&", "c"]),
    ("^[+--a]$", ["+", ",", "-", "a"], ["."]),
    ("^[a~~b]$", ["~", "a", "b"], ["c"]),
    ("^[[a]]$", ["[]", "a]"], ["a", "["]),
    ("^[[:alpha:]]$", ["[]", ":]", "a]", "h]"], ["b", "z]"]),
    # Line ends, white space, digits and letters.
    ("^.$", ["a", "\x85", "😀"], ["\n", "\r", "\u2028", "\u2029", ""]),
    (r"^\s$", [" ", "\v", "\xa0", "\ufeff", "\u2028"], ["\x85", "\u180e", "\x1c"]),
    (r"^\S$", ["\x85", "\x1c", "a"], ["\ufeff", "\u3000"]),
    (r"^\d\w$", ["1a", "0_"], ["٣a", "1é", "1\u212a"]),
    (r"^\D\W$", ["٣é"], ["1é", "٣a"]),
    # Escapes.
    (r"^\cA\x41\u0041\u{41}\0$", ["\x01AA A".replace(" ", "") + "\0"], ["\x01AAAA"]),
    (r"^\ud83d\ude00$", ["😀"], ["", "😁"]),
    (r"^[\ud83d\ude00-\u{1F602}]$", ["😀", "😁", "😂"], ["😃"]),
    (r"^(\ud800|a)$", ["a"], ["", "\ufffd"]),
    (r"^[\b]$", ["\b"], ["b"]),
    (r"^\/\.\-\_\"\é$", ['/.-_"é'], ["/.-_\\"]),
    # What stands for itself where it could be nothing else.
    ("^{a}]$", ["{a}]"], ["a"]),
    ("^a{b$", ["a{b"], ["ab"]),
    (r"^[\w-.]$", ["a", "-", "."], [",", "/"]),
    ("^[]$|^x$", ["x"], ["", "a"]),
    ("^[^]$", ["\n", "a", '"', "\\"], [""]),
    # Groups, repetitions.
    ("^(?<year>[0-9]{4})-(?:a|b)*?c+?$", ["2026-c", "0000-abcc"], ["2026-ab"]),
    ("^a{2,3}b{2}c{1,}$", ["aabbc", "aaabbcc"], ["abbc", "aaaabbc", "aabb"]),
    ("^(?:)$", [""], ["a"]),
    # Anchors.
    ("ab", ["ab", "\nab\n", "xaby"], ["a b"]),
    ("", ["", "a\n"], []),
    ("^a|b$", ["a", "ax", "b", "xb", "a\n"], ["xa", "bx"]),
    ("(^a|b)c", ["acx", "xbcx", "bc"], ["xac"]),
    ("a(b$|c)", ["xab", "acx"], ["abx"]),
    ("a$|^b", ["xa", "bx"], ["ax", "xb"]),
    ("^^(^a|b)$$", ["a", "b"], ["xb", "ax"]),
    ("(^|,)foo(,|$)", ["foo", "a,foo", "foo,b", "a,foo,b"], ["afoo", "foob", "a,foob"]),
    ("(^a)?b", ["ab", "xb", "b", "xab"], ["a"]),
    ("(^a){0}b$", ["b", "xb"], ["bx"]),
    ("(?:^a$)", ["a"], ["xa", "ax"]),
    ("^", ["", "a"], []),
    ("^$", [""], ["a"]),
    # Properties.
    (r"^\p{Script=Greek}\P{Lu}$", ["αα", "Ωa"], ["aα", "αΩ"]),
    (r"^[\p{L}\d]+$", ["é5", "中"], ["٣", "-"]),
    (r"^[^\p{L}\d]$", ["٣", "-", '"'], ["é", "5"]),
    (r"^\p{Surrogate}|\P{Cs}$", ["a"], [""]),
    (r"^[\p{Cc}\p{Cs}]\p{Any}$", ["\na"], ["aa"]),
    # Sets that the library would quote wrongly.
    ('^[^"]*$', ["", "a\\\n\x1f"], ['"', 'a"b']),
    (r"^[^\\]$", ['"', "\t"], ["\\"]),
    (r'^[^"\\]+$', ["a\n"], ['"', "\\"]),
    (r"^[\x00-\x1f]$", ["\0", "\n"], ['"', "\\", " "]),
    (r"^\p{Cc}$", ["\0", "\n", "\x7f"], ['"', "\\"]),
    (r"^[^\p{L}\"]$", ["\n", "\\", "1"], ['"', "a"]),
    (r"^[^\n\"]$", ["\r", "\\"], ['"', "\n"]),
    (r'^(a[^"]|a\x10)$', ["a\n", "aa", "a\x10"], ['a"']),
]


@pytest.mark.parametrize(("pattern", "found", "others"), MEANINGS, ids=lambda value: None)
def test_a_pattern_means_what_ecma_262_says(
    pattern: str, found: list[str], others: list[str]
) -> None:
    matcher = compiled({"type": "string", "pattern": pattern})
    assert [text for text in found if not accepts(matcher, text)] == []
    assert [text for text in others if accepts(matcher, text)] == []


@pytest.mark.parametrize(("pattern", "found", "others"), MEANINGS, ids=lambda value: None)
def test_a_pattern_is_found_where_ecma_262_finds_it(
    pattern: str, found: list[str], others: list[str]
) -> None:
    unknown = {None} if r"\p" in pattern.lower() else set[None]()
    assert {is_found(pattern, text) for text in found} <= {True} | unknown
    assert {is_found(pattern, text) for text in others} <= {False} | unknown


@pytest.mark.parametrize(
    "pattern", ["(a*)*b", "(a|a)*b", "(a+){1000}b", "((a?){9}){9}b", "(a*a*)*b"]
)
def test_a_search_takes_no_longer_than_its_text(pattern: str) -> None:
    assert not is_found(pattern, "a" * 12)
    assert is_found(f"^({pattern}|a*)$", "a" * 12)


def test_a_search_that_would_take_long_is_given_up() -> None:
    nested = "a"
    for _ in range(30):
        nested = f"({nested}){{1,9}}"
    assert is_found(nested, "b" * 30) is None


# Pattern, the position that is told, words of the reason.
REFUSED: list[tuple[str, int, str]] = [
    ("ab(?=c)", 3, "look-around"),
    ("(?!a)", 1, "look-around"),
    ("a(?<=a)", 2, "look-around"),
    ("(?<!a)", 1, "look-around"),
    (r"(a)\1", 4, "backreferences"),
    (r"(?<x>a)\k<x>", 8, "backreferences"),
    (r"a\01", 2, "octal"),
    (r"[\1]", 2, "octal"),
    (r"\bfoo", 1, "borders of words"),
    (r"a\B", 2, "borders of words"),
    ("a^b", 2, "'^' is supported only at the beginning"),
    ("(a|b$)c", 5, "'$' is supported only at the end"),
    ("(^a|b)*", 2, "'^' is supported only at the beginning"),
    ("$^", 1, "'$' is supported"),
    ("(?i)a", 1, "flags"),
    ("(?i:a)", 1, "flags"),
    ("(?P<a>b)", 1, "flags"),
    (r"\Aab", 1, r"'\A' is not an escape"),
    (r"ab\z", 3, r"'\z' is not an escape"),
    (r"\Qa", 1, r"'\Q' is not an escape"),
    (r"[\h]", 2, r"'\h' is not an escape"),
    (r"\pL", 1, r"in braces must follow '\p'"),
    (r"a\p{Greek}", 2, "no property 'Greek'"),
    (r"\p{letter}", 1, "no property 'letter'"),
    (r"\p{gc=Greek}", 1, "no property"),
    (r"\xg1", 1, r"two hexadecimal digits must follow '\x'"),
    (r"\u12", 1, "four hexadecimal digits"),
    (r"\u{110000}", 1, "beyond 10FFFF"),
    (r"\c1", 1, "a letter must follow"),
    ("a\\", 2, "nothing follows"),
    ("a(b", 2, "unclosed group"),
    ("ab)", 3, "unopened group"),
    ("é😀[a", 3, "unclosed class"),
    ("[b-a]", 2, "out of order"),
    ("[a--z]", 2, "out of order"),
    (r"[\p{L}-z]", 2, "from or to a property"),
    ("a{2,1}", 2, "out of order"),
    ("*a", 1, "nothing to repeat"),
    ("a++", 3, "nothing to repeat"),
    ("^*", 2, "nothing to repeat"),
    ("{2}", 1, "nothing to repeat"),
    ("a{,3}", 2, "write '{0,'"),
    ("a{" + "9" * 5_000 + "}", 2, "digits"),
    ("(" * 101, 101, "100 deep"),
    (r"x[^\"]" + "".join(rf"\x{code:02x}" for code in range(0x10, 0x1B)), 2, "control characters"),
]


@pytest.mark.parametrize(("pattern", "position", "words"), REFUSED, ids=lambda value: None)
def test_a_pattern_is_refused_with_the_position(pattern: str, position: int, words: str) -> None:
    with pytest.raises(PatternError) as refused:
        translate(pattern)
    assert str(refused.value).startswith(f"character {position}: ")
    assert words in str(refused.value)


def test_lengths_hold_beside_a_pattern() -> None:
    matcher = compiled({"type": "string", "pattern": "b", "minLength": 2, "maxLength": 3})
    texts = ["b", "ab", "ba", "😀b", "abc", "😀b\n", "abcd", "aa"]
    assert [text for text in texts if accepts(matcher, text)] == ["ab", "ba", "😀b", "abc", "😀b\n"]


def test_every_pattern_of_a_schema_is_read_so() -> None:
    strings = {"type": "string", "pattern": "^[a&&b]$"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"pattern": strings, "o": {"$ref": "#/$defs/s"}, "p": {"anyOf": [strings]}},
        "patternProperties": {r"^x\-[[]$": {"type": "array", "items": strings}},
        "additionalProperties": False,
        "$defs": {"s": {"allOf": [strings]}},
    }
    matcher = compiled(schema)
    assert accepts(matcher, {"pattern": "&", "o": "&", "p": "&", "x-[": ["&"]})
    for wrong in ({"pattern": "&&"}, {"o": "c"}, {"p": "c"}, {"x-[": ["c"]}, {"x-": ["a"]}):
        assert not accepts(matcher, wrong)


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return byte_compiler()


def test_a_schema_with_a_pattern_that_cannot_be_enforced_is_refused_or_does_without(
    compiler: GrammarCompiler,
) -> None:
    inner = {"type": "string", "pattern": r"\bfoo", "maxLength": 2}
    schema = {"type": "object", "patternProperties": {"^[[a]]$": inner}}
    with pytest.raises(
        SchemaError, match=r"^'pattern' cannot be enforced here: character 1: "
    ) as no:
        compile_schema(compiler.begin(), schema, strict=True)
    assert no.value.path == ("patternProperties", "^[[a]]$", "pattern")
    kept = enforceable(compiler.begin(), schema, strict=False).schema
    short = {"type": "string", "maxLength": 2}
    assert list(kept["patternProperties"].values()) == [short]


def test_a_name_that_cannot_be_enforced_is_told(compiler: GrammarCompiler) -> None:
    schema = {"type": "object", "patternProperties": {"^x-": {}, "y(?=a)": {}}}
    with pytest.raises(SchemaError, match=r"character 2: look-around .*; in 'y\(\?=a\)'") as no:
        compile_schema(compiler.begin(), schema, strict=True)
    assert no.value.path == ("patternProperties",)
    assert enforceable(compiler.begin(), schema, strict=False).schema == {"type": "object"}


def test_two_names_that_are_one_to_the_library_are_refused(compiler: GrammarCompiler) -> None:
    schema = {"patternProperties": {"^a$": {"type": "null"}, "^(?:a)$": {"type": "integer"}}}
    with pytest.raises(SchemaError, match="another pattern matches the same names; in"):
        compile_schema(compiler.begin(), schema, strict=True)


@pytest.mark.parametrize("pattern", ["a/b[]", r"[]\\/\.", "[é\u3000\x85][]"])
def test_what_the_library_says_of_a_pattern_is_told_at_its_place(
    compiler: GrammarCompiler, pattern: str
) -> None:
    """Of one that nothing matches it says so, and has it in its own dialect."""
    schema = {"type": "string", "minLength": 1, "pattern": pattern}
    with pytest.raises(SchemaError) as refused:
        compile_schema(compiler.begin(), schema, strict=True)
    assert refused.value.path == ("pattern",)
    left = enforceable(compiler.begin(), schema, strict=False).schema
    assert left == {"type": "string", "minLength": 1}


def test_names_are_matched_exactly_or_not_at_all() -> None:
    """A name that a pattern fails to match would be that of another member."""
    translate(r"^[^\"]$")
    with pytest.raises(PatternError, match="character 2: "):
        translate(r"^[^\"]$", exact=True)


def node_is_here() -> bool:
    """Whether there is an ECMA engine to ask; continuous integration must have it."""
    return shutil.which("node") is not None or os.environ.get("CI") == "true"


asks_node = pytest.mark.skipif(not node_is_here(), reason="needs node, an ECMA-262 engine")


def disagreements(seed: int, count: int) -> tuple[list[str], int]:
    """What we say otherwise than Node of random patterns, and how many patterns are refused."""
    maker = PatternMaker(seed)
    cases = [maker.case() for _ in range(count)]
    wrong: list[str] = []
    refused = found = 0
    for (pattern, texts), verdict in zip(cases, ask_node(cases), strict=True):
        try:
            matches = answered(pattern)
        except PatternError:
            refused += 1
            continue
        if verdict is None:
            wrong += [f"{pattern!r} is no pattern and was taken"] * comparable(verdict, pattern)
            continue
        found += sum(verdict.found)
        wrong += [
            f"{pattern!r} in {text!r}: {verdict.found[at]}, for us the other"
            for at, text in enumerate(texts)
            if comparable(verdict, pattern + text)
            if verdict.found[at] != (matches is not None and accepts(matches, text))
        ]
    # That nothing is found would be easy to agree on.
    assert found > 2 * count
    return wrong, refused


# Without the flag `u` these are something else, or two characters.
UNDER_THE_FLAG = re.compile(r"\\[pP]|\\u\{|\\u[dD]|[\U00010000-\U0010ffff]")


def comparable(verdict: Verdict | None, text: str) -> bool:
    """Whether Node's word counts: of what is no pattern under the flag it is told without."""
    return bool(verdict and verdict.unicode) or not UNDER_THE_FLAG.search(text)


def answered(pattern: str) -> LLMatcher | None:
    """A matcher, or None where nothing matches."""
    translate(pattern)
    try:
        return compiled({"type": "string", "pattern": pattern})
    except GrammarError as error:
        if "Regex is empty" not in str(error):
            raise
        return None


@asks_node
def test_random_patterns_mean_what_an_ecma_engine_says() -> None:
    wrong, refused = disagreements(seed=1, count=2_000)
    assert wrong == []
    assert refused < 0.3 * 2_000


@asks_node
def test_properties_are_those_of_an_ecma_engine() -> None:
    """By name, and by what they hold of the characters that strings escape."""
    names = [*BINARY, *CATEGORIES, *(f"gc={name}" for name in CATEGORIES)]
    names += [f"{kind}={name}" for kind in ("sc", "scx") for name in ("Common", "Zyyy", "Latin")]
    codes = sorted(CONTROLS | MARKS)
    verdicts = ask_node((rf"^\p{{{name}}}$", [chr(code) for code in codes]) for name in names)
    for name, verdict in zip(names, verdicts, strict=True):
        found = property_named(name, negated=False)
        assert verdict is not None
        assert verdict.unicode
        assert found is not None
        assert [found.holds(code) for code in codes] == verdict.found, name
        if name not in ("Cs", "Surrogate", "gc=Cs", "gc=Surrogate"):
            assert compiled({"type": "string", "pattern": rf"[\p{{{name}}}a]"})
