"""Random patterns of ECMA-262 with texts near them, and what Node says of both."""

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# Neighbours of what dialects read differently. None of U+0010 to U+001A: one of them may be
# missing where a set has all control characters.
POOL = [
    *"abzKks_059 -&~[]^{}|.$,\"\\/'#:<>",
    *"\n\r\t\b\f\v\0\x0f\x1f\x7f\x85\xa0\ufeff\u1680\u180e\u200b\u2028\u2029",
    *"éſ\u212a٣αΩяА中あ\u0301\ud7ff\ue000\uffff😀😁𝒳\U0010ffff",
]
_ESCAPED = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\f": r"\f", "\v": r"\v", "\0": r"\0"}
_SYNTAX = set(r"^$\.*+?()[]{}|/")
_CLASSES = {r"\d": "059", r"\D": "a٣-", r"\w": "aK_5", r"\W": "éſ\u212a-", r"\s": " \ufeff\u2028",
            r"\S": "a\x85\u180e"}  # fmt: skip
_PROPERTIES = {
    "L": "aé中", "Lu": "KΩ", "gc=Nd": "5٣", "General_Category=Punctuation": '-"\\', "Cc": "\n\x1f",
    "Script=Greek": "αΩ", "sc=Cyrl": "яА", "scx=Hira": "あ", "Emoji": "5😀", "Alphabetic": "zé",
    "White_Space": " \n", "Any": "a\n", "ASCII": 'a"', "Uppercase": "KΩ", "sc=Common": '5"\n',
}  # fmt: skip
# Refused by us, though they mean something.
_BEYOND = [r"\b", r"\B", "(?=a)", "(?!a)", "(?<=a)", "(?<!b)"]
# No patterns under the flag `u`; some mean one thing without it.
_LENIENT = [r"\-", r"\_", r"\"", r"\ ", r"\:", "{", "}", "]", "{x}", r"[\w-.]", r"[a-\d]", "a{1"]
_WRONG = [
    r"\A",
    r"\z",
    r"\Q",
    r"\x1",
    r"\u12",
    "(?i)",
    "[b-a]",
    "a{2,1}",
    "*",
    "(",
    ")",
    "[",
    r"\h",
]
_SCRIPT = """
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const read = (pattern, flags) => {
  try { return new RegExp(pattern, flags) } catch { return null }
};
console.log(JSON.stringify(cases.map(([pattern, texts]) => {
  const regex = read(pattern, 'u') ?? read(pattern, '');
  return regex && [regex.unicode, texts.map(text => regex.test(text))];
})));
"""


@dataclass(frozen=True)
class Verdict:
    """What an engine says of a pattern.

    Attributes:
        unicode: it is a pattern under the flag `u`; else only without.
        found: for each text whether it is found there.
    """

    unicode: bool
    found: list[bool]


def ask_node(cases: Iterable[tuple[str, Sequence[str]]]) -> list[Verdict | None]:
    """What Node says of patterns and texts; None of what is no pattern under any flag."""
    node = shutil.which("node")
    assert node is not None
    asked = json.dumps([[pattern, list(texts)] for pattern, texts in cases])
    done = subprocess.run(
        [node, "-e", _SCRIPT], input=asked, capture_output=True, text=True, check=True, timeout=120
    )
    return [said and Verdict(*said) for said in json.loads(done.stdout)]


Sample = Callable[[], str]


class PatternMaker:
    """Draws patterns, and texts that they match or nearly do."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def case(self) -> tuple[str, list[str]]:
        """A pattern and ten texts."""
        pattern, sample = self._disjunction(2, edges=True)
        texts = [""]
        for _ in range(3):
            near = sample()
            texts += [near, self._changed(near), self._some() + near + self._some()]
        return pattern, texts

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _some(self) -> str:
        return "".join(self._random.choices(POOL, k=self._random.randrange(3)))

    def _changed(self, text: str) -> str:
        at = self._random.randrange(len(text) + 1)
        return text[:at] + self._some() + text[at + self._random.randrange(2) :]

    def _disjunction(self, depth: int, *, edges: bool) -> tuple[str, Sample]:
        count = self._random.choice((1, 1, 1, 2, 3))
        options = [self._alternative(depth, edges=edges) for _ in range(count)]
        samples = [sample for _, sample in options]

        def sample() -> str:
            return self._random.choice(samples)()

        return "|".join(text for text, _ in options), sample

    def _alternative(self, depth: int, *, edges: bool) -> tuple[str, Sample]:
        count = self._random.randrange(1 if depth == 2 else 0, 4)
        terms = [self._term(depth, edges and at in (0, count - 1)) for at in range(count)]
        first = self._random.choice(("", "", "^", "^", "^^")) if edges else ""
        last = self._random.choice(("", "", "$", "$", "$$")) if edges else ""
        samples = [sample for _, sample in terms]
        text = first + "".join(text for text, _ in terms) + last
        return text, lambda: "".join(sample() for sample in samples)

    def _term(self, depth: int, edges: bool) -> tuple[str, Sample]:
        if self._chance(0.015):
            kind = self._random.choice((_BEYOND, _LENIENT, _LENIENT, _WRONG, ["^", "$"]))
            text = self._random.choice(kind)
            return text, lambda: text.replace("\\", "")
        if depth and self._chance(0.25):
            text, sample = self._disjunction(depth - 1, edges=edges and self._chance(0.5))
            name = f"?<n{self._random.randrange(10**9)}>"
            atom = f"({self._random.choice(('', '?:', name))}{text})"
        else:
            atom, sample = self._atom()
        if self._chance(0.65):
            return atom, sample
        low, more = self._random.randrange(3), self._random.randrange(3)
        quantifier, high = self._random.choice(
            [
                *(("*", 2), ("+", 2), ("?", 1), (f"{{{low}}}", low), (f"{{{low},}}", low + 1)),
                (f"{{{low},{low + more}}}", low + more),
            ]
        )
        low = {"*": 0, "+": 1, "?": 0}.get(quantifier, low)
        lazy = "?" * self._chance(0.2)
        return atom + quantifier + lazy, lambda: "".join(
            sample() for _ in range(self._random.randint(low, high))
        )

    def _atom(self) -> tuple[str, Sample]:
        kind = self._random.random()
        if kind < 0.45:
            character = self._random.choice(POOL)
            return self._spelled(character, _SYNTAX), lambda: character
        if kind < 0.55:
            return ".", lambda: self._random.choice("a\n\r\u2028\x85😀")
        if kind < 0.68:
            return self._listed_class()
        return self._class()

    def _listed_class(self) -> tuple[str, Sample]:
        if self._chance(0.5):
            text, members = self._random.choice(list(_CLASSES.items()))
            return text, lambda: self._random.choice(members)
        name, members = self._random.choice(list(_PROPERTIES.items()))
        negated = self._chance(0.3)
        text = rf"\{'P' if negated else 'p'}{{{name}}}"
        return text, lambda: self._random.choice(POOL if negated else members)

    def _class(self) -> tuple[str, Sample]:
        samples: list[Sample] = []
        text = ""
        for _ in range(self._random.randrange(5)):
            kind = self._random.random()
            if kind < 0.5:
                character = self._random.choice(POOL)
                part, sample = self._spelled(character, set("\\]-^")), lambda it=character: it
            elif kind < 0.7:
                low, high = sorted(self._random.choices(POOL, k=2))
                ends = [self._spelled(end, set("\\]-^")) for end in (low, high)]
                part, sample = "-".join(ends), lambda it=low + high: self._random.choice(it)
            elif kind < 0.85:
                part, sample = self._listed_class()
            else:
                part = self._random.choice(["&&", "~~", "[:alpha:", "[", r"\b", "--a"])
                sample = lambda it=part: self._random.choice(it)  # noqa: E731
            text += part
            samples.append(sample)
        text += "-" * self._chance(0.1)
        if self._chance(0.35):
            return f"[^{text}]", lambda: self._random.choice(POOL)
        return f"[{text}]", lambda: self._random.choice(samples)() if samples else ""

    def _spelled(self, character: str, special: set[str]) -> str:
        """One of the ways to write a character."""
        code, ways = ord(character), []
        if character in special:
            ways.append("\\" + character)
        elif character not in "\n\r\u2028\u2029":
            ways += [character] * 4
        if character in _ESCAPED:
            ways.append(_ESCAPED[character] if character != "\0" else r"\x00")
        if 0 < code < 27:
            ways.append(rf"\c{chr(code + 64)}")
        if code < 0x100:
            ways.append(rf"\x{code:02x}")
        if code < 0x10000:
            ways.append(rf"\u{code:04X}")
        else:
            high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code - 0x10000) % 0x400
            ways.append(rf"\u{high:04x}\u{low:04x}")
        return self._random.choice([*ways, rf"\u{{{code:x}}}"])
