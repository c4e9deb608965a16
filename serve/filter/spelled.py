"""Patterns of ECMA-262 in RE2's dialect, and of each one what may still become a match.

A text may still become a match where it matches the *beginnings* of the pattern:

    abc     (?:a(?:b(?:c)?)?)?
    a|b     beginnings of a, or of b
    a{2,5}  a{0,4} and a beginning of a
"""

from dataclasses import dataclass
from functools import reduce

from serve.grammar.patterns.characters import Characters
from serve.grammar.patterns.properties import Property
from serve.grammar.patterns.syntax import parse
from serve.grammar.patterns.tree import (
    Choice,
    Letter,
    Node,
    PatternError,
    Repeat,
    Sequence,
)

# As much as RE2 repeats something.
LONGEST_MATCH = 1_000
# Characters of a pattern as it is spelled for RE2.
_LARGEST = 64 * 1024

# Beside a border of words there is none of these.
NO_WORD = r"[^\p{L}\p{M}\p{N}_]"
_BORDER = r"\b"


@dataclass(frozen=True, slots=True)
class Spelled:
    """One pattern for RE2; parts to put into others.

    Attributes:
        whole: matches what the pattern matches.
        beginnings: matches that, and whatever it begins with.
        after_border: the pattern begins with `\\b`.
        before_border: it ends with it.
    """

    whole: str
    beginnings: str
    after_border: bool
    before_border: bool


def spelled(pattern: str) -> Spelled:
    """A pattern of ECMA-262 for RE2; `\\b` may stand at its beginning and its end.

    Raises:
        PatternError: it is malformed, has a match that is empty or longer than `LONGEST_MATCH`,
            or is too large.
    """
    after = pattern.startswith(_BORDER)
    inner = pattern[len(_BORDER) :] if after else pattern
    backslashes = len(inner) - 1 - len(inner[:-1].rstrip("\\"))
    before = inner.endswith("b") and backslashes % 2 == 1
    inner = inner[: -len(_BORDER)] if before else inner
    try:
        tree = parse(inner)
    except PatternError as error:
        raise PatternError(error.position + len(_BORDER) * after, error.reason) from error
    if (after or before) and isinstance(tree, Choice):
        raise PatternError(0, "'\\b' is of one alternative only; put them in a group, (?:…|…)")
    if tree.anchor is not None:
        raise PatternError(
            tree.anchor.position + len(_BORDER) * after,
            f"'{tree.anchor.sign}' has no meaning where matches are anywhere; leave it out",
        )
    least, most = _lengths(tree)
    if most is None or most > LONGEST_MATCH:
        raise PatternError(
            0,
            f"a match may have more than {LONGEST_MATCH} characters; for '*' write a bound, "
            f"like '{{0,100}}'",
        )
    if not least:
        raise PatternError(0, "it matches a text without characters")
    whole, beginnings = _spell(tree)
    return Spelled(whole, beginnings, after, before)


def _lengths(node: Node) -> tuple[int, int | None]:
    """Characters of the shortest and of the longest match; None for no bound."""
    match node:
        case Sequence(parts) if parts:
            return _sum([_lengths(part) for part in parts])
        case Choice(options):
            each = [_lengths(option) for option in options]
            ends = [most for _, most in each]
            return min(least for least, _ in each), None if None in ends else max(
                filter(None, ends), default=0
            )
        case Repeat(part, least, most):
            shortest, longest = _lengths(part)
            if longest == 0 or most == 0:
                return 0, 0
            if longest is None or most is None:
                return shortest * least, None
            return shortest * least, longest * most
        case Letter():
            return 1, 1
        case _:
            return 0, 0


def _sum(lengths: list[tuple[int, int | None]]) -> tuple[int, int | None]:
    ends = [most for _, most in lengths]
    most = None if None in ends else sum(filter(None, ends))
    return sum(least for least, _ in lengths), most


def _spell(node: Node) -> tuple[str, str]:
    """A part as an atom, and its beginnings as one."""
    match node:
        case Letter(characters):
            whole = _letter(characters)
            found = whole, f"(?:{whole})?"
        case Sequence(parts):
            each = [_spell(part) for part in parts]
            beginnings = reduce(
                lambda rest, part: f"(?:{part[1]}|{part[0]}{rest})" if rest else part[1],
                reversed(each),
                "",
            )
            found = f"(?:{''.join(whole for whole, _ in each)})", f"(?:{beginnings})"
        case Choice(options):
            each = [_spell(option) for option in options]
            found = tuple(f"(?:{'|'.join(texts)})" for texts in zip(*each, strict=True))
        case Repeat(part, least, most):
            whole, beginning = _spell(part)
            most = most or 0
            found = (
                f"(?:{whole}{{{least},{most}}})",
                f"(?:{whole}{{0,{most - 1}}}{beginning})" if most else "(?:)",
            )
        case _:
            found = "(?:)", "(?:)"
    if max(map(len, found)) > _LARGEST:
        raise PatternError(0, "it is too large")
    return found[0], found[1]


def _letter(characters: Characters) -> str:
    properties = tuple(
        Property(each.name.removeprefix("gc=").removeprefix("sc="), each.negated)
        for each in characters.properties
    )
    return Characters(characters.ranges, properties, characters.negated).regex
