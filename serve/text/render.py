"""Conversations to prompt ids, where text stays text.

Knows nothing of HTTP. A control token comes from the template alone: whatever a message says,
its characters become ordinary tokens, even where they spell `<|im_end|>`.

How: a marker character that occurs nowhere in the conversation is put into every control
spelling in the messages' strings, and at those ends of strings that a spelling could cross
into. After rendering, every spelling that is left was written by the template; the marker is
taken out of the text between them.

    message    say <|im_end|>          template   <|im_start|>user\n…<|im_end|>
    marked     say <·|im_end|>
    rendered   <|im_start|>user\nsay <·|im_end|><|im_end|>
    split      [im_start] "user\nsay <|im_end|>" [im_end]
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from model.tokenizer import Tokenizer
from serve.text.template import ChatTemplate, ConversationError, TemplateError

# First the noncharacters, which no text should hold, then the private-use area.
_MARKERS = (*map(chr, range(0xFDD0, 0xFDF0)), *map(chr, range(0xE000, 0xF900)))

# Names out of a closed list that the caller has checked; templates compare them.
_VERBATIM_KEYS = frozenset({"role", "type"})


class Renderer:
    """A tokenizer and a chat template together.

    Raises:
        TemplateError: a control token of the tokenizer is spelled with one character, which
            could not be told from text.
    """

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        spellings = sorted(tokenizer.controls, key=len, reverse=True)
        if spellings and len(spellings[-1]) < 2:
            raise TemplateError(
                f"the tokenizer has the control token {spellings[-1]!r}; a control token needs "
                f"two characters or more, so that text can be told from it"
            )
        self._tokenizer = tokenizer
        self._template = template
        self._control = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")
        # Pieces of spellings: what a string may share with one that crosses its ends.
        self._heads = {spelling[:n] for spelling in spellings for n in range(1, len(spelling))}
        self._tails = {spelling[-n:] for spelling in spellings for n in range(1, len(spelling))}
        self._inner = {
            spelling[start:end]
            for spelling in spellings
            for start in range(1, len(spelling))
            for end in range(start + 1, len(spelling))
        }
        self._longest = len(spellings[0]) if spellings else 0

    def render(
        self, messages: Sequence[Mapping[str, object]], *, add_generation_prompt: bool = True
    ) -> list[int]:
        """The prompt of a conversation.

        Args:
            messages: in the form that templates expect; content is a string.
            add_generation_prompt: end with the opening of the assistant's turn.

        Raises:
            ConversationError: the template cannot render the conversation, or it renders to
                nothing.
        """
        if not self._template.knows_developer:
            messages = [_as_system(message) for message in messages]
        marker = _unused_marker(messages)
        marked = [self._marked(message, marker) for message in messages]
        text = self._template.render(marked, add_generation_prompt=add_generation_prompt)
        ids: list[int] = []
        position = 0
        for match in self._control.finditer(text):
            ids += self._encode(text[position : match.start()], marker)
            ids.append(self._tokenizer.controls[match.group()])
            position = match.end()
        ids += self._encode(text[position:], marker)
        if not ids:
            raise ConversationError("the messages render to an empty prompt; send some text")
        return ids

    def _encode(self, text: str, marker: str) -> list[int]:
        plain = text.replace(marker, "")
        return self._tokenizer.encode(plain) if plain else []

    def _marked(self, fields: Mapping[str, object], marker: str) -> dict[str, object]:
        return {
            key: value if key in _VERBATIM_KEYS else self._marked_value(value, marker)
            for key, value in fields.items()
        }

    def _marked_value(self, value: object, marker: str) -> object:
        if isinstance(value, str):
            return self._marked_text(value, marker)
        if isinstance(value, Mapping):
            return self._marked(cast("Mapping[str, object]", value), marker)
        if isinstance(value, list | tuple):
            items = cast("Sequence[object]", value)
            return [self._marked_value(item, marker) for item in items]
        return value

    def _marked_text(self, text: str, marker: str) -> str:
        # Spellings may overlap: breaking one can leave another, so look again until none is.
        while self._control.search(text):
            text = self._control.sub(lambda match: _broken(match.group(), marker), text)
        lengths = range(1, min(len(text), self._longest) + 1)
        before = text in self._inner or any(text[:n] in self._tails for n in lengths)
        after = any(text[-n:] in self._heads for n in lengths)
        return (marker if before else "") + text + (marker if after else "")


def _broken(spelling: str, marker: str) -> str:
    return spelling[0] + marker + spelling[1:]


def _as_system(message: Mapping[str, object]) -> Mapping[str, object]:
    return {**message, "role": "system"} if message.get("role") == "developer" else message


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[str, object]", value).values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[object]", value):
            yield from _strings(inner)


def _unused_marker(messages: Sequence[Mapping[str, object]]) -> str:
    used = {character for text in _strings(messages) for character in set(text)}
    for marker in _MARKERS:
        if marker not in used:
            return marker
    raise ConversationError(
        "the messages hold every noncharacter and private-use character there is; "
        "leave at least one of U+FDD0 to U+FDEF out"
    )
