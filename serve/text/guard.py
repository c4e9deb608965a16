"""Text of a conversation that a template can handle but that never spells a control token.

A marker character that occurs nowhere in the conversation is put into every control spelling,
and at those ends of a string that a spelling could cross into:

    message    say <|im_end|>
    guarded    say <·|im_end|>

Templates look into messages (`'</think>' in content`, `content.split('</think>')[-1]`):
`GuardedText` answers as the plain text would, and what it gives back is guarded again.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

# First the noncharacters, which no text should hold, then the private-use area.
_MARKERS = (*map(chr, range(0xFDD0, 0xFDF0)), *map(chr, range(0xE000, 0xF900)))

# Under these keys stand words of the API's own, which templates write between control marks.
_WORD_KEYS = frozenset({"role", "type"})
_WORDS = frozenset(
    {
        *("developer", "system", "user", "assistant", "tool", "tool_response", "function"),
        *("text", "custom"),
        *("null", "boolean", "integer", "number", "string", "array", "object"),
    }
)


def spelling_pattern(spellings: Collection[str]) -> re.Pattern[str]:
    """Finds the longest of `spellings` at each place, in time that hardly grows with their number.

    A vocabulary may have thousands: they are tried character by character, `<(?:a|unused(?:0|1))>`.
    """

    def after(rests: Collection[str]) -> str:
        by_head: dict[str, list[str]] = {}
        for rest in rests:
            if rest:
                by_head.setdefault(rest[0], []).append(rest[1:])
        if not by_head:
            return ""
        branches = "|".join(re.escape(head) + after(tails) for head, tails in by_head.items())
        if "" in rests:
            return f"(?:{branches})?"
        return f"(?:{branches})" if len(by_head) > 1 else branches

    return re.compile(after(spellings) or r"(?!)")


class MarkersUsedUpError(ValueError):
    """A conversation that holds every character that could be the marker."""


class Guard:
    """Guards text against a set of control spellings of two characters or more."""

    def __init__(self, spellings: Collection[str]) -> None:
        self._control = spelling_pattern(spellings)
        # Pieces of spellings: what a string may share with one that crosses its ends.
        self._heads = {spelling[:n] for spelling in spellings for n in range(1, len(spelling))}
        self._tails = {spelling[-n:] for spelling in spellings for n in range(1, len(spelling))}
        self._inner = {
            spelling[start:end]
            for spelling in spellings
            for start in range(1, len(spelling))
            for end in range(start + 1, len(spelling))
        }
        self._longest = max(map(len, spellings), default=0)

    def conversation(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] = (),
        reserved: Collection[str] = (),
    ) -> tuple[list[dict[str, object]], list[dict[str, object]], str]:
        """Messages and tools with every string guarded, keys too, and the marker.

        The marker is to be taken out of what they become. It is none of the `reserved` characters.

        Raises:
            MarkersUsedUpError: no character is left for a marker.
        """
        marker = _unused_marker([*messages, *tools, dict.fromkeys(reserved)])
        told = [self._fields(message, marker) for message in messages]
        return told, [self._fields(tool, marker) for tool in tools], marker

    def _fields(self, fields: Mapping[str, object], marker: str) -> dict[str, object]:
        return {
            guarded_text(self, key, marker): value
            if key in _WORD_KEYS and isinstance(value, str) and value in _WORDS
            else self._value(value, marker)
            for key, value in fields.items()
        }

    def _value(self, value: object, marker: str) -> object:
        if isinstance(value, str):
            return guarded_text(self, value, marker)
        if isinstance(value, Mapping):
            return self._fields(cast("Mapping[str, object]", value), marker)
        if isinstance(value, list | tuple):
            return [self._value(item, marker) for item in cast("Sequence[object]", value)]
        return value

    def broken(self, text: str, marker: str) -> str:
        """`text` with the marker in each spelling."""
        # Spellings may overlap: breaking one can leave another, so look again until none is.
        while self._control.search(text):
            text = self._control.sub(lambda match: match[0][0] + marker + match[0][1:], text)
        return text

    def guarded(self, text: str, marker: str) -> str:
        """`text` with the marker in each spelling, and at ends that could become one."""
        text = self.broken(text, marker)
        lengths = range(1, min(len(text), self._longest) + 1)
        before = text in self._inner or any(text[:n] in self._tails for n in lengths)
        after = any(text[-n:] in self._heads for n in lengths)
        return (marker if before else "") + text + (marker if after else "")


# Any, because to a type checker an override must repeat all of str's overloads.
def _guarding(name: str) -> Any:
    method = getattr(str, name)

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        wanted = [self._wanted(argument) for argument in arguments]
        return self._again(method(self, *wanted, **named))

    return call


class GuardedText(str):
    """A string of a conversation as templates see it: guarded, and so is all it is cut into."""

    _guard: Guard
    _marker: str

    # Without it `str(content)`, which filters call, would forget what this is.
    def __str__(self) -> str:
        return self

    def _wanted(self, argument: Any) -> Any:
        """What a template looks for, in the form that it has in here."""
        if isinstance(argument, str):
            return self._guard.broken(argument, self._marker)
        if isinstance(argument, tuple):
            return tuple(map(self._wanted, cast("tuple[Any, ...]", argument)))
        return argument

    def _again(self, result: Any) -> Any:
        if isinstance(result, str):
            return guarded_text(self._guard, result, self._marker)
        if isinstance(result, list | tuple):
            return [self._again(member) for member in cast("Sequence[Any]", result)]
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self._plain() == _plain_of(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    # As the plain text's, so that a guarded key is found by its name.
    def __hash__(self) -> int:
        return hash(self._plain())

    def _plain(self) -> str:
        return str.replace(self, self._marker, "")

    __contains__ = _guarding("__contains__")
    __getitem__ = _guarding("__getitem__")
    capitalize = _guarding("capitalize")
    casefold = _guarding("casefold")
    count = _guarding("count")
    endswith = _guarding("endswith")
    find = _guarding("find")
    index = _guarding("index")
    lower = _guarding("lower")
    lstrip = _guarding("lstrip")
    partition = _guarding("partition")
    removeprefix = _guarding("removeprefix")
    removesuffix = _guarding("removesuffix")
    replace = _guarding("replace")
    rfind = _guarding("rfind")
    rindex = _guarding("rindex")
    rpartition = _guarding("rpartition")
    rsplit = _guarding("rsplit")
    rstrip = _guarding("rstrip")
    split = _guarding("split")
    splitlines = _guarding("splitlines")
    startswith = _guarding("startswith")
    strip = _guarding("strip")
    swapcase = _guarding("swapcase")
    title = _guarding("title")
    upper = _guarding("upper")


def guarded_text(guard: Guard, text: str, marker: str) -> GuardedText:
    """`text` as templates may see it."""
    made = GuardedText(guard.guarded(text, marker))
    made._guard = guard  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
    made._marker = marker  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
    return made


def _plain_of(text: str) -> str:
    return text._plain() if isinstance(text, GuardedText) else text  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[object]", value):
            yield from _strings(inner)


def unused_characters(messages: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Characters that no text should hold, and that no string of the messages does."""
    used = {character for text in _strings(messages) for character in set(text)}
    return (character for character in _MARKERS if character not in used)


def _unused_marker(messages: Sequence[Mapping[str, object]]) -> str:
    marker = next(unused_characters(messages), None)
    if marker is None:
        raise MarkersUsedUpError(
            "the messages hold every noncharacter and private-use character there is; "
            "leave at least one of U+FDD0 to U+FDEF out"
        )
    return marker
