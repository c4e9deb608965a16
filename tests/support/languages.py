"""Languages of custom tools: a grammar of each, and a judge that its maker has nothing to do with.

The judge of every Lark grammar is the package `lark`, of every regular expression the package
`regex`; where the standard library can read the language too, it has to.
"""

import ast
import configparser
import ipaddress
import json
import re
import sqlite3
import tomllib
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Literal

import regex
from lark import Lark


def _nothing(text: str) -> None:
    del text


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        name: what it is.
        syntax: of its grammar.
        grammar: as requests send it.
        reads: raises where the text is not of the language, for those that have a reader.
    """

    name: str
    syntax: Literal["lark", "regex"]
    grammar: str
    reads: Callable[[str], object] = _nothing

    def judge(self, text: str) -> None:
        """Raises an exception if `text` is not a sentence of the language."""
        if self.syntax == "lark":
            _parser(self.grammar).parse(text)
        else:
            assert regex.fullmatch(self.grammar, text), f"{text!r} does not match"
        self.reads(text)


@cache
def _parser(grammar: str) -> Lark:
    # Terminals of any length that fits, as in a grammar, and not of the first that `re` finds.
    return Lark(grammar, lexer="dynamic_complete")


def _value(text: str) -> object:
    tree = ast.parse(text, mode="eval")
    allowed = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Constant, ast.operator, ast.unaryop)
    assert all(isinstance(node, allowed) for node in ast.walk(tree))
    return tree


def _query(text: str) -> None:
    database = sqlite3.connect(":memory:")
    try:
        database.execute("create table users (id, name, age)")
        database.execute("create table orders (id, total)")
        database.execute(f"explain {text}")
    finally:
        database.close()


def _ini(text: str) -> None:
    configparser.RawConfigParser(strict=False, allow_no_value=False).read_string(text)


def _balanced(text: str) -> None:
    open_: list[str] = []
    for character in text:
        if character in "([{":
            open_.append(")]}"["([{".index(character)])
        elif character in ")]}":
            assert open_.pop() == character
    assert not open_


def _even_palindrome(text: str) -> None:
    assert text == text[::-1]
    assert len(text) % 2 == 0


def _roman(text: str) -> None:
    units = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    values = [units[letter] for letter in text]
    pairs = zip(values, [*values[1:], 0], strict=True)
    total = sum(-value if value < later else value for value, later in pairs)
    assert 0 < total < 4000


def _luminance(text: str) -> None:
    assert 0 <= int(text[1:], 16) < 2 ** (4 * len(text[1:]))


LARK = [
    Language(
        "arithmetic",
        "lark",
        """start: sum
sum: product (("+" | "-") product)*
product: atom (("*" | "/") atom)*
atom: NUMBER | "-" atom | "(" sum ")"
NUMBER: /[1-9][0-9]{0,3}/
""",
        _value,
    ),
    Language(
        "a subset of SQL",
        "lark",
        """start: "select " columns " from " table (" where " condition)? (" limit " COUNT)?
columns: "*" | COLUMN ("," COLUMN)*
table: "users"
condition: comparison ((" and " | " or ") comparison)*
comparison: COLUMN OPERATOR value
value: COUNT | STRING | "null"
OPERATOR: "<=" | ">=" | "<>" | "<" | ">" | "="
COLUMN: "id" | "name" | "age"
COUNT: /[0-9]{1,3}/
STRING: /'[a-z ]{0,5}'/
""",
        _query,
    ),
    Language(
        "SQL that changes something",
        "lark",
        """start: insert | delete | update
insert: "insert into orders values (" NUMBER "," NUMBER ")"
delete: "delete from orders where " test
update: "update orders set total=" NUMBER " where " test
test: "id=" NUMBER | "not (" test ")" | "(" test ") and (" test ")"
NUMBER: /[0-9]{1,4}(\\.[0-9]{1,2})?/
""",
        _query,
    ),
    Language(
        "nested brackets",
        "lark",
        """start: pair+
pair: "(" inner ")" | "[" inner "]" | "{" inner "}"
inner: pair*
""",
        _balanced,
    ),
    Language(
        "JSON",
        "lark",
        r"""start: value
value: object | array | STRING | NUMBER | "true" | "false" | "null"
object: "{" (pair ("," pair)*)? "}"
pair: STRING ":" value
array: "[" (value ("," value)*)? "]"
STRING: /"([^"\\\x00-\x1f]|\\["\\bfnrt]){0,6}"/
NUMBER: /-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,4})?/
""",
        json.loads,
    ),
    Language(
        "a date in words",
        "lark",
        """start: DAY " " MONTH " " YEAR
DAY: /1[0-9]|2[0-8]|[1-9]/
MONTH: "January" | "February" | "March" | "April" | "December"
YEAR: /(19|20)[0-9]{2}/
""",
        lambda text: datetime.strptime(text, "%d %B %Y"),
    ),
    Language(
        "XML",
        "lark",
        """start: element
element: "<a>" content "</a>" | "<b/>" | "<c d='" WORD "'>" content "</c>"
content: (element | WORD)*
WORD: /[a-zé]{1,6}/
""",
        ElementTree.fromstring,
    ),
    Language(
        "palindromes",
        "lark",
        """start: half
half: "a" half "a" | "b" half "b" | "aa" | "bb"
""",
        _even_palindrome,
    ),
    Language(
        "lists, with a terminal of the library",
        "lark",
        """%import common.INT
start: list
list: "[" (item (", " item)*)? "]"
item: INT | list | "None" | tuple
tuple: "(" item ", " item ")"
""",
    ),
    Language(
        "INI",
        "lark",
        """start: section+
section: "[" NAME "]\\n" pair*
pair: KEY "=" VALUE "\\n"
NAME: /[a-z]{1,6}/
KEY: /[a-z_]{1,6}/
VALUE: /[0-9a-z]{1,8}/
""",
        _ini,
    ),
    Language(
        "TOML values",
        "lark",
        """start: "value = " value
value: INTEGER | "true" | "false" | STRING | "[" (value (", " value)*)? "]"
INTEGER: /-?[1-9][0-9]{0,6}/
STRING: /"[^"\\\\\\x00-\\x1f\\x7f]{0,6}"/
""",
        tomllib.loads,
    ),
    Language(
        "Boolean formulas, with spaces to be left out",
        "lark",
        """start: formula
formula: VARIABLE | "not" formula | "(" formula ("and" | "or") formula ")"
VARIABLE: /[p-s]/
%ignore " "
""",
    ),
    Language(
        "commands with bounded repetitions",
        "lark",
        """start: step~1..5
step: ("up" | "down" | "left" | "right") " " /[1-9]/ ";"
""",
    ),
    Language(
        "words of many alphabets",
        "lark",
        r"""start: WORD (" " WORD)* END
WORD: /\p{Lu}\p{Ll}{1,5}/
END: /[.!?]/
""".replace(r"\p{Lu}", "[A-ZÄÖÉΑ-Ω]").replace(r"\p{Ll}", "[a-zäöéα-ω]"),
    ),
    Language(
        "calls in calls",
        "lark",
        """start: call
call: NAME "(" (argument ("," argument)*)? ")"
argument: call | NUMBER | NAME "=" NUMBER
NAME: /[a-d]{1,3}/
NUMBER: /0|[1-9][0-9]{0,2}/
""",
    ),
    Language(
        "terminals with what they are not",
        "lark",
        """start: line+
line: KEY ":" REST "\\n"
KEY: /[a-z]{1,4}/
REST: /[^\\n:]{1,9}/
""",
    ),
]
REGEX = [
    Language(
        "a date",
        "regex",
        r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
        date.fromisoformat,
    ),
    Language(
        "a time",
        "regex",
        r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{3})?)?",
        time.fromisoformat,
    ),
    Language("an integer", "regex", r"-?(0|[1-9][0-9]{0,15})", int),
    Language("a decimal", "regex", r"[+-]?[0-9]{1,5}(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?", float),
    Language(
        "an address of IPv4",
        "regex",
        r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}"
        r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
        ipaddress.IPv4Address,
    ),
    Language(
        "an address of IPv6", "regex", r"([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}", ipaddress.IPv6Address
    ),
    Language(
        "a UUID",
        "regex",
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        lambda text: uuid.UUID(text, version=4),
    ),
    Language("letters of any alphabet", "regex", r"\p{L}{1,6}( \p{L}{1,6}){0,3}"),
    # Unicode has made a letter of one kind into one of the other, and libraries follow late.
    Language("capitals and what follows", "regex", r"(\p{Lu}[\p{Ll}\p{Lo}]+){1,3}[\p{Nd}\p{Sc}]*"),
    Language("Greek and Cyrillic", "regex", r"[α-ωά-ώ]{2,5}-[а-яё]{2,5}"),
    Language("anything but digits", "regex", r"[^0-9\n]{3,12}"),
    Language("a colour", "regex", r"#([0-9a-fA-F]{3}){1,2}", _luminance),
    Language(
        "a Roman numeral",
        "regex",
        r"M{1,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})",
        _roman,
    ),
    Language(
        "an identifier",
        "regex",
        r"[a-z_][a-z0-9_]{0,11}\(\)",
        lambda text: re.fullmatch(r"\w+\(\)", text, re.ASCII) or ast.parse("-"),
    ),
    Language("CSV", "regex", r'("[^"\n]{0,4}"|[0-9]{1,3})(,("[^"\n]{0,4}"|[0-9]{1,3})){0,4}'),
    Language("any case of a word", "regex", r"(?i)(parlance|grüße){1,3}"),
    Language("nested repetitions", "regex", r"(([ab]{1,3}-){1,3}[0-9]/){1,4}"),
    Language("one of many words", "regex", "|".join(f"w{number}x" for number in range(0, 999, 7))),
    Language("lines", "regex", r"([a-z]{1,5}\n){1,4}"),
    Language("slashes and stars", "regex", r"//[a-z]{0,5}/\*[^*]{0,5}\*/"),
]
LANGUAGES = [*LARK, *REGEX]
