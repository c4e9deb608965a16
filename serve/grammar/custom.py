"""Grammars of text: which Lark and which regular expressions are taken, and their errors.

The library's dialects can do more than describe text (name control tokens, set options, hold
other grammars), and take quantifiers that mean nothing in them. Both are refused, with the
position. Knows nothing of tools or answers.
"""

import re
from collections.abc import Iterator, Sequence

from serve.grammar.compiler import Compilation, Grammar
from serve.grammar.ebnf import lark_of_ebnf
from serve.grammar.library import GrammarError
from serve.grammar.matcher import CompiledGrammar
from serve.grammar.positions import told

# Strings, regular expressions and comments of a Lark grammar.
_OPAQUE = re.compile(
    r'(?P<string>"(?:\\.|[^"\\\n])*")|(?P<regex>/(?:\\.|[^/\\\n])+/)|(?P<comment>//.*|\#.*)'
)
_FOREIGN = re.compile(
    r"(?P<directive>%(?!ignore\b|import\b)\w*)|(?P<token><)|(?P<at>@)"
    r"|(?P<options>(?<=\w)\s*\[[^\]:]*\]\s*:)"
)
_REASONS = {
    "directive": "the directive is not supported; '%ignore' and '%import' are",
    "token": "control tokens cannot be part of a text; write strings in double quotes",
    "at": "there are no other grammars to refer to",
    "options": "rules have no options in square brackets here",
}
_LAZY = "lazy quantifiers are not supported; leave out the second '?', '*?' is '*'"
_AT = re.compile(r"(?:at )?(\d+)\((\d+)\): (.*)")
_IN_REGEX = re.compile(r"regex parse error:\n.*\n {4}( *)\^+\n(?:.*\n)*?error: (.*)")


def check_lark(compilation: Compilation, source: str) -> CompiledGrammar:
    """See that a Lark grammar can be followed; a constraint that holds answers to it.

    Raises:
        GrammarError: it cannot; the message says where and why.
    """
    shown = _OPAQUE.sub(_hidden, source)
    if foreign := _FOREIGN.search(shown):
        raise GrammarError(told(source, foreign.start(), _REASONS[foreign.lastgroup or ""]))
    for match in _OPAQUE.finditer(source):
        if match.lastgroup == "regex":
            for lazy in _lazy_quantifiers(match[0][1:-1]):
                raise GrammarError(told(source, match.start() + 1 + lazy, _LAZY))
    try:
        return compilation.compile(Grammar.lark(source))
    except GrammarError as error:
        raise GrammarError(_located(str(error))) from error


def check_ebnf(compilation: Compilation, source: str) -> tuple[CompiledGrammar, str]:
    """See that a grammar in EBNF can be followed; a constraint, and the same in Lark.

    Raises:
        GrammarError: it cannot; the message says where, if it is ill-formed, and why.
    """
    lark = lark_of_ebnf(source)
    try:
        return compilation.compile(Grammar.lark(lark)), lark
    except GrammarError as error:
        # Its places are those of the Lark.
        raise GrammarError(_reason(str(error))) from error


def check_regex(compilation: Compilation, source: str) -> CompiledGrammar:
    """See that a regular expression can be followed; a constraint that holds answers to it.

    Raises:
        GrammarError: it cannot; the message says where and why.
    """
    for lazy in _lazy_quantifiers(source):
        raise GrammarError(f"character {lazy + 1}: {_LAZY}")
    try:
        return compilation.compile(Grammar.regex(source))
    except GrammarError as error:
        text = str(error)
        found = _IN_REGEX.search(text)
        if found:
            raise GrammarError(f"character {len(found[1]) + 1}: {found[2]}") from error
        raise GrammarError(_reason(text)) from error


def one_of(texts: Sequence[str]) -> str:
    """A regular expression of these texts and no others."""
    return "|".join(map(re.escape, texts))


def _hidden(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _lazy_quantifiers(regex: str) -> Iterator[int]:
    """Where the `?` of a lazy quantifier stands."""
    quantified = in_class = False
    position = 0
    while position < len(regex):
        character = regex[position]
        if character == "\\":
            quantified, position = False, position + 2
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class, quantified = True, False
            # A bracket that comes first is one of the class.
            position += len(re.match(r"\^?\]?", regex[position + 1 :])[0])  # type: ignore[index]
        elif character == "?" and quantified:
            yield position
        else:
            opens = character == "(" and regex[position + 1 : position + 2] == "?"
            position += opens
            quantified = character in "*+?}"
        position += 1


def _located(error: str) -> str:
    found = _AT.match(error)
    return f"line {found[1]}, column {found[2]}: {_reason(error)}" if found else _reason(error)


def _reason(error: str) -> str:
    inside = _IN_REGEX.search(error)
    if inside:
        return f"in its regular expression, at character {len(inside[1]) + 1}: {inside[2]}"
    found = _AT.match(error)
    return (found[3] if found else error.partition("\n")[0]).rstrip(".")
