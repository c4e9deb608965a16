"""A filter's file: what belongs to which category. Knows nothing of how texts are searched."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from serve.filter.characters import folded
from serve.filter.errors import FilterError

MOST_CATEGORIES = 64
MOST_WORDS = 100_000
MOST_REGEXES = 1_000
LONGEST_WORD = 200

Side = Literal["input", "output"]
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "on": ("input", "output", "both"),
    "do": ("block", "cut"),
}
_LISTS = {"words": MOST_WORDS, "regexes": MOST_REGEXES}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Category:
    """One table of the file.

    Attributes:
        name: in errors and metrics.
        words: words and phrases.
        regexes: patterns of ECMA-262.
        sides: what is searched for them: requests, answers, or both.
        blocks: a plain answer with a match is dropped whole, rather than cut before it.
        lines: of the file, by key; "" for the table itself.
    """

    name: str
    words: tuple[str, ...] = ()
    regexes: tuple[str, ...] = ()
    sides: frozenset[Side] = frozenset({"input", "output"})
    blocks: bool = False
    lines: tuple[tuple[str, int], ...] = ()

    def place(self, key: str = "") -> str:
        """Where a key stands, as errors say it."""
        lines = dict(self.lines)
        return f"line {lines.get(key, lines.get('', 1))}"


def read_rules(path: Path) -> tuple[Category, ...]:
    """The categories of a file, in its order.

    Raises:
        FilterError: the file cannot be read, or is no filter.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FilterError(
            f"content_filter {path} cannot be read ({error}); give a TOML file of categories"
        ) from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FilterError(f"content_filter {path} is no TOML: {error}") from error
    return _Reader(path, text).categories(tables)


class _Reader:
    """The checks of one file, which know where in it they are."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def categories(self, tables: Mapping[str, Any]) -> tuple[Category, ...]:
        if not tables:
            self._refuse(1, "has no category; write [NAME], and below it words or regexes")
        if len(tables) > MOST_CATEGORIES:
            self._refuse(1, f"has {len(tables)} categories; {MOST_CATEGORIES} are allowed")
        return tuple(self._category(name, table) for name, table in tables.items())

    def _category(self, name: str, table: object) -> Category:
        lines = self._places(name)
        if not _NAME.fullmatch(name):
            self._refuse(
                lines[""],
                f"names a category {name!r}; up to 64 letters, digits, '_' and '-' are allowed",
            )
        if not isinstance(table, dict):
            self._refuse(
                lines[""], f"has {name!r} outside a category; write it below a line like [NAME]"
            )
        fields = cast("Mapping[str, object]", table)
        if strange := [key for key in fields if key not in _ALLOWED and key not in _LISTS]:
            self._refuse(
                lines.get(strange[0], lines[""]),
                f"has {strange[0]!r} in [{name}]; words, regexes, on and do are allowed",
            )
        words, regexes = (self._texts(name, key, fields, lines) for key in _LISTS)
        if not words and not regexes:
            self._refuse(lines[""], f"has nothing to find in [{name}]; give it words or regexes")
        side = self._one_of("on", "both", name, fields, lines)
        sides = ("input", "output") if side == "both" else (side,)
        blocks = self._one_of("do", "cut", name, fields, lines) == "block"
        return Category(
            name,
            words,
            regexes,
            frozenset(cast("tuple[Side, ...]", sides)),
            blocks,
            tuple(lines.items()),
        )

    def _texts(
        self, name: str, key: str, fields: Mapping[str, object], lines: Mapping[str, int]
    ) -> tuple[str, ...]:
        line, given = lines.get(key, lines[""]), fields.get(key, [])
        if not isinstance(given, list):
            self._refuse(line, f"has {key} in [{name}] that are no array; write ['…', '…']")
        texts = cast("list[object]", given)
        if len(texts) > _LISTS[key]:
            self._refuse(line, f"has {len(texts)} {key} in [{name}]; {_LISTS[key]:,} are allowed")
        for number, text in enumerate(texts, 1):
            if not isinstance(text, str) or not folded(text).strip(" "):
                self._refuse(line, f"has no text as number {number} of the {key} in [{name}]")
            if key == "words" and (text != text.strip() or len(text) > LONGEST_WORD):
                self._refuse(
                    line,
                    f"has as number {number} of the words in [{name}] one of {len(text)} "
                    f"characters; up to {LONGEST_WORD} without white space around are allowed",
                )
        return tuple(cast("list[str]", texts))

    def _one_of(
        self,
        key: str,
        default: str,
        name: str,
        fields: Mapping[str, object],
        lines: Mapping[str, int],
    ) -> str:
        value, allowed = fields.get(key, default), _ALLOWED[key]
        if not isinstance(value, str) or value not in allowed:
            self._refuse(
                lines.get(key, lines[""]),
                f"has {key} = {value!r} in [{name}]; {', '.join(map(repr, allowed))} are allowed",
            )
        return value

    def _places(self, name: str) -> dict[str, int]:
        """Lines of a category and its keys, as far as they are written one to a line."""
        header = re.compile(rf"\s*(?:\[\s*[\"']?{re.escape(name)}[\"']?\s*\]|{re.escape(name)}\b)")
        start = next((n for n, line in enumerate(self._lines, 1) if header.match(line)), 1)
        places = {"": start}
        for number, line in enumerate(self._lines[start:], start + 1):
            if re.match(r"\s*\[[^\]'\"]*\]\s*(?:#|$)", line):
                break
            if key := re.match(r"\s*([\w-]+)\s*=", line):
                places.setdefault(key[1], number)
        return places

    def _refuse(self, line: int, wrong: str) -> NoReturn:
        raise FilterError(f"content_filter {self._path}, line {line}, {wrong}")
