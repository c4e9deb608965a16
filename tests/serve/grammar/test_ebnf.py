"""EBNF to Lark: whole languages against regular expressions, and every fault with its place."""

import itertools
import random

import pytest
from support.byte_tokens import allows, byte_compiler

from serve.grammar.custom import check_ebnf
from serve.grammar.ebnf import is_ebnf, lark_of_ebnf
from serve.grammar.library import GrammarError

COMPILER = byte_compiler()
ALPHABET = 'ab"-é'

# As vLLM's documentation has it.
SQL = """
    root ::= select_statement

    select_statement ::= "SELECT " column " from " table " where " condition

    column ::= "col_1 " | "col_2 "

    table ::= "table_1 " | "table_2 "

    condition ::= column "= " number

    number ::= "1 " | "2 "
"""
# After llama.cpp's grammar of JSON: escapes, sets, groups over several lines, a comment, recursion.
JSON = r"""root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

ws ::= | " " | "\n" [ \t]{0,20}
"""


def follows(grammar: str, text: str) -> bool:
    return allows(check_ebnf(COMPILER.begin(), grammar)[0], text)


@pytest.mark.parametrize(
    ("grammar", "inside", "outside"),
    [
        (
            SQL,
            ["SELECT col_1  from table_2  where col_2 = 1 "],
            ["SELECT col_1 ", "SELECT col_3  from table_1  where col_1 = 1 "],
        ),
        (
            JSON,
            ["{}", '{"a": [1, -2.5e3, "x\\n\\u00e9é"]}', '{ "a":{"b":[]}}'],
            ["[]", '{"a"}', '{"a":01}', '{"a":"\\x"}', '{"a":"\t"}'],
        ),
        ('root ::= "(" root ")" | ""', ["", "()", "((()))"], ["(", "())"]),
        ('root ::= "a"\n  | b-2\nb-2 ::= "b"', ["a", "b"], ["ab"]),
        (
            'r ::= "r" # root ::= r\nroot ::= [a-c] [^a-c\\n] .',
            ["ax\n", "céé"],
            ["a\nx", "abx", "r"],
        ),
        (r'root ::= "\u00e9\U0001F98A\x41\"\\\n\t\r\[\-"', ['é🦊A"\\\n\t\r[-'], ["é"]),
        (r"root ::= [\]\\^\-x-z&&~~/-]+", ["]\\^-xyz&~/"], ["w", "a"]),
        ('root ::= x ("a" | ) "b" ( | "c")\nx ::= ()', ["b", "ab", "abc", "bc"], ["", "ac"]),
        ('root ::= "a"{2} "b"{1,} "c"{ 0 , 2 }', ["aab", "aabbbcc"], ["ab", "aa", "aabccc"]),
        ('root ::= item {2,3}\nitem ::= "a" | "(" item ")"', ["aa", "a(a)((a))"], ["a", "aaaa"]),
    ],
    ids=[
        *("vLLM's SQL", "JSON", "nested", "leading bar", "sets", "escapes", "signs in a set"),
        *("nothing", "repetitions", "repeated recursion"),
    ],
)
def test_languages(grammar: str, inside: list[str], outside: list[str]) -> None:
    assert is_ebnf(grammar)
    assert [text for text in inside if not follows(grammar, text)] == []
    assert [text for text in outside if follows(grammar, text)] == []


LONGEST = 3
Texts = frozenset[str]
TEXTS = frozenset(
    "".join(signs)
    for length in range(LONGEST + 1)
    for signs in itertools.product(ALPHABET, repeat=length)
)


def joined(first: Texts, then: Texts) -> Texts:
    """All of one and then all of the other, as far as it is short enough."""
    return frozenset(a + b for a in first for b in then if len(a + b) <= LONGEST)


class Drawn:
    """A random grammar without recursion, in EBNF and as the list of its short texts."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.rules: dict[str, tuple[str, Texts]] = {}
        for count in range(rng.randint(0, 3)):
            self.rules[f"part-{count}"] = self.alternatives(1)
        self.rules["root"] = self.alternatives(2)

    @property
    def ebnf(self) -> str:
        rules = [f"{name} ::= {ebnf}" for name, (ebnf, _) in self.rules.items()]
        self.rng.shuffle(rules)
        return "\n".join(rules)

    def alternatives(self, depth: int) -> tuple[str, Texts]:
        rows = [self.sequence(depth) for _ in range(self.rng.randint(1, 3))]
        ebnf = self.rng.choice([" | ", "|", "\n | "]).join(row for row, _ in rows)
        return ebnf, frozenset().union(*(texts for _, texts in rows))

    def sequence(self, depth: int) -> tuple[str, Texts]:
        items = [self.repeated(depth) for _ in range(self.rng.randint(0, 3))]
        texts = frozenset([""])
        for _, more in items:
            texts = joined(texts, more)
        return " ".join(ebnf for ebnf, _ in items), texts

    def repeated(self, depth: int) -> tuple[str, Texts]:
        ebnf, texts = self.item(depth)
        # More than three times is no longer short, but for what is empty.
        signs = {"*": (0, 4), "+": (1, 4), "?": (0, 1), "{2}": (2, 2), "{1,2}": (1, 2)}
        sign = self.rng.choice(["", "", "", "{2,}", *signs])
        least, most = signs.get(sign, (2, 5) if sign else (1, 1))
        power, found = frozenset([""]), frozenset[str]()
        for times in range(most + 1):
            found |= power if times >= least else frozenset()
            power = joined(power, texts)
        return ebnf + sign, found

    def item(self, depth: int) -> tuple[str, Texts]:
        match self.rng.randrange(5 if depth else 3):
            case 0:
                text = "".join(self.rng.choices(ALPHABET, k=self.rng.randint(0, 2)))
                return '"' + text.replace('"', '\\"') + '"', frozenset([text])
            case 1:
                some = "".join(self.rng.sample('ab"é', 2)) + self.rng.choice(["", "-"])
                if self.rng.random() < 0.5:
                    return f"[{some}]", frozenset(some)
                return f"[^{some}]", frozenset(ALPHABET) - frozenset(some)
            case 2 if self.rules:
                name = self.rng.choice(list(self.rules))
                return name, self.rules[name][1]
            case 3 | 4:
                ebnf, texts = self.alternatives(depth - 1)
                return f"({ebnf})", texts
            case _:
                return ".", frozenset(ALPHABET)


@pytest.mark.parametrize("seed", range(40))
def test_random_languages_without_recursion_are_exact(seed: int) -> None:
    """Every text of up to three signs."""
    grammar = Drawn(random.Random(seed))
    wanted = grammar.rules["root"][1]
    constraint, _ = check_ebnf(COMPILER.begin(), grammar.ebnf)
    assert {text for text in TEXTS if allows(constraint, text)} == wanted, grammar.ebnf


@pytest.mark.parametrize(
    ("grammar", "told"),
    [
        ('root ::= "a" x', "line 1, column 14: there is no rule 'x'"),
        ('a ::= "b"', "there is no rule 'root'"),
        ('root ::= a\na ::= ("b"', "line 2, column 1: a group of this rule is not closed"),
        ('root ::= ("b"\na ::= "c"', "line 1, column 1: a group of this rule is not closed"),
        ('root ::= "a"))', "line 1, column 13: no group is open"),
        ('root ::= "a" |\n  "b', "line 2, column 3: '\"' is not expected here"),
        ("root ::= [ab", "line 1, column 10: '[' is not expected here"),
        ("root ::= 'a'", 'line 1, column 10: "\'" is not expected here'),
        ('root ::= * "a"', "line 1, column 10: there is nothing before '*' to repeat"),
        ('root ::= (+ "a")', "line 1, column 11: there is nothing before '+' to repeat"),
        ('root ::= "a"+?', "line 1, column 14: there is nothing before '?' to repeat"),
        ('root ::= "a"{3,1}', "line 1, column 13: '{3,1}' ends below where it begins"),
        ('root ::= "a"{1234567}', "line 1, column 13: '{' is not expected here"),
        ("root ::= [b-a]", "line 1, column 10: a range of '[b-a]' ends below where it begins"),
        ("root ::= []", "line 1, column 10: a set has one character at least"),
        (r'root ::= "a\q"', r"line 1, column 12: '\\q' is no escape of EBNF"),
        (r'root ::= "\ud800"', r"line 1, column 11: '\\ud800' is no character"),
        (r"root ::= [a\U00110000]", r"line 1, column 12: '\\U00110000' is no character"),
        ('"a"\nroot ::= "b"', "line 1, column 1: a rule is expected"),
        ('root ::= "a"\nroot ::= "b"', "line 2, column 1: the rule 'root' is defined twice"),
        ('root ::= root "a"', "nothing can satisfy it"),
        ('root ::= "a"{500000}', "it takes too much"),
    ],
)
def test_faults_are_told_with_their_place(grammar: str, told: str) -> None:
    with pytest.raises(GrammarError) as caught:
        check_ebnf(COMPILER.begin(), grammar)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    "grammar", ['start: "a"', '?start: x\nx: "::="', 'start: /a ::= b/ // root ::= "a"', ""]
)
def test_lark_is_not_taken_for_ebnf(grammar: str) -> None:
    assert not is_ebnf(grammar)


def test_what_is_read_more_often_is_no_longer_text() -> None:
    """A rule names others by a name of a few characters, however often and however deep."""
    rules = [f"r{n} ::= r{n + 1} r{n + 1}" for n in range(200)]
    lark = lark_of_ebnf("\n".join(["root ::= r0", *rules, 'r200 ::= "a"']))
    assert len(lark.splitlines()) == 203
    assert len(lark) < 4_000
