"""Grammars in EBNF (`root ::= …`), as llama.cpp, xgrammar and vLLM have them, to Lark.

Token by token, in time that grows with the text alone. A rule that no recursion leads through
becomes a terminal: what it says is matched exactly, as one piece. Knows nothing of how grammars
are followed.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from serve.grammar.library import GrammarError
from serve.grammar.positions import told

_HEAD = re.compile(r"^[ \t]*[\w-]+[ \t]*::=", re.MULTILINE)
_TOKEN = re.compile(
    r"(?P<space>\s+|\#[^\n]*)"
    r"|(?P<head>(?P<defined>[\w-]+)\s*::=)|(?P<name>[\w-]+)"
    r'|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<set>\[(?:\\.|[^\]\\\n])*\])|(?P<any>\.)'
    r"|(?P<repeat>[*+?]|\{\s*(?P<least>[0-9]{1,6})\s*(?P<upto>,\s*(?P<most>[0-9]{1,6})?\s*)?\})"
    r"|(?P<open>\()|(?P<close>\))|(?P<or>\|)"
)
_CHARACTER = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<control>[nrt])|(?P<self>[^\w\s]))|(?P<plain>[^\\])"
)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def is_ebnf(source: str) -> bool:
    """Whether a grammar is in EBNF, rather than in Lark."""
    return _HEAD.search(source) is not None


@dataclass(slots=True)
class _Rule:
    """A rule on its way.

    Attributes:
        place: of its name in the source.
        body: in Lark, piece by piece.
        references: which pieces are names of rules.
        depth: of groups that are open.
        repeatable: what was read last can be repeated.
    """

    place: int
    body: list[str] = field(default_factory=list[str])
    references: list[int] = field(default_factory=list[int])
    depth: int = 0
    repeatable: bool = False

    def add(self, text: str, *, repeatable: bool) -> None:
        """Go on by a piece."""
        self.body.append(text)
        self.repeatable = repeatable

    @property
    def names(self) -> list[str]:
        """The rules that it refers to."""
        return [self.body[at] for at in self.references]


def lark_of_ebnf(source: str) -> str:
    """The grammar in Lark; its start is `root`.

    Raises:
        GrammarError: it is ill-formed; the message says where and why.
    """
    rules, uses = _read(source)
    for name, place in uses:
        if name not in rules:
            raise _wrong(source, place, f"there is no rule {name!r}")
    if "root" not in rules:
        raise GrammarError("there is no rule 'root', which is where a grammar begins")
    terminals = _terminals(rules)
    new = {name: f"{'T' if name in terminals else 'r'}{n}" for n, name in enumerate(rules)}
    lines = [f"start: {new['root']}"]
    for name, rule in rules.items():
        body = list(rule.body)
        for at in rule.references:
            body[at] = new[body[at]]
        lines.append(f"{new[name]}: {' '.join(body)}")
    return "\n".join(lines) + "\n"


def _read(source: str) -> tuple[dict[str, _Rule], list[tuple[str, int]]]:
    """The rules, and every reference to one with its place."""
    rules: dict[str, _Rule] = {}
    uses: list[tuple[str, int]] = []
    rule: _Rule | None = None
    for token in _tokens(source):
        place = token.start()
        if token.lastgroup == "head":
            _end(source, rule)
            name = token["defined"]
            if name in rules:
                raise _wrong(source, place, f"the rule {name!r} is defined twice")
            rule = rules[name] = _Rule(place)
        elif rule is None:
            raise _wrong(source, place, "a rule is expected, such as 'root ::= …'")
        else:
            if token.lastgroup == "name":
                rule.references.append(len(rule.body))
                uses.append((token[0], place))
            _add(source, rule, token)
    _end(source, rule)
    return rules, uses


def _add(source: str, rule: _Rule, token: re.Match[str]) -> None:
    """Go on in a rule by one token."""
    text, place = token[0], token.start()
    match token.lastgroup:
        case "name":
            rule.add(text, repeatable=True)
        case "string":
            characters = _characters(source, place + 1, text[1:-1])
            rule.add(json.dumps("".join(chr(code) for code, _ in characters)), repeatable=True)
        case "set":
            rule.add(_set(source, place, text), repeatable=True)
        case "any":
            rule.add("/(?s:.)/", repeatable=True)
        case "repeat":
            if not rule.repeatable:
                raise _wrong(source, place, f"there is nothing before {text!r} to repeat")
            rule.add(_repeat(source, token), repeatable=False)
        case "open":
            rule.add("(", repeatable=False)
            rule.depth += 1
        case "or":
            rule.add("|", repeatable=False)
        case _:
            if not rule.depth:
                raise _wrong(source, place, "no group is open that this ')' could close")
            rule.add(")", repeatable=True)
            rule.depth -= 1


def _tokens(source: str) -> Iterator[re.Match[str]]:
    """The tokens that say something."""
    place = 0
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise _wrong(source, place, f"{source[place]!r} is not expected here")
        if match.lastgroup != "space":
            yield match
        place = match.end()


def _end(source: str, rule: _Rule | None) -> None:
    if rule is not None and rule.depth:
        raise _wrong(source, rule.place, "a group of this rule is not closed; add ')'")


def _repeat(source: str, token: re.Match[str]) -> str:
    if token["least"] is None:
        return token[0]
    least = int(token["least"])
    most = token["least"] if token["upto"] is None else token["most"]
    if most is None:
        return f"{{{least},}}"
    if int(most) < least:
        raise _wrong(source, token.start(), f"{token[0]!r} ends below where it begins")
    return f"{{{least},{int(most)}}}"


def _characters(source: str, place: int, text: str) -> list[tuple[int, bool]]:
    """Code points of what stands in quotes or brackets, and whether each was written as itself.

    Args:
        source: all of the grammar.
        place: of `text` in it.
        text: what stands between the delimiters.
    """
    found: list[tuple[int, bool]] = []
    at = 0
    while at < len(text):
        match = _CHARACTER.match(text, at)
        if match is None:
            raise _wrong(source, place + at, f"{text[at : at + 2]!r} is no escape of EBNF")
        digits = match["x"] or match["u"] or match["U"]
        if digits is None:
            shown = _CONTROLS.get(match["control"] or "", match["self"] or match["plain"])
            code = ord(shown or "")
        else:
            code = int(digits, 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise _wrong(source, place + at, f"{match[0]!r} is no character")
        found.append((code, match["plain"] is not None))
        at = match.end()
    return found


def _set(source: str, place: int, text: str) -> str:
    """A set of characters as a regular expression."""
    negated = text.startswith("[^")
    characters = _characters(source, place + 1 + negated, text[1 + negated : -1])
    if not characters:
        raise _wrong(source, place, "a set has one character at least")
    ranges: list[str] = []
    at = 0
    while at < len(characters):
        first = last = characters[at][0]
        at += 1
        if characters[at : at + 1] == [(ord("-"), True)] and at + 1 < len(characters):
            last = characters[at + 1][0]
            at += 2
        if last < first:
            raise _wrong(source, place, f"a range of {text!r} ends below where it begins")
        ranges.append(_spelled(first) if first == last else f"{_spelled(first)}-{_spelled(last)}")
    return f"/[{'^' * negated}{''.join(ranges)}]/"


def _spelled(code: int) -> str:
    """A character in a set of a regular expression, where signs may have a meaning."""
    character = chr(code)
    return character if character.isascii() and character.isalnum() else rf"\u{{{code:x}}}"


def _terminals(rules: dict[str, _Rule]) -> set[str]:
    """The rules that lead to no recursion."""
    users: dict[str, list[str]] = {name: [] for name in rules}
    left = {name: len(rule.names) for name, rule in rules.items()}
    for name, rule in rules.items():
        for used in rule.names:
            users[used].append(name)
    ready: Sequence[str] = [name for name, count in left.items() if not count]
    found: set[str] = set()
    while ready:
        found.update(ready)
        following: list[str] = []
        for used in ready:
            for user in users[used]:
                left[user] -= 1
                if not left[user]:
                    following.append(user)
        ready = following
    return found


def _wrong(source: str, place: int, reason: str) -> GrammarError:
    return GrammarError(told(source, place, reason))
