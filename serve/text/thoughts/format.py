"""How a family marks its thoughts, as data. Knows no family."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from model.tokenizer import Tokenizer

# Where an answer stands when the model begins: it may open thoughts, is amid them, or is past them.
Beginning = Literal["undecided", "thinking", "answering"]

# What may come before the marker that opens thoughts. Of bytes it is the same that `bytes.strip`
# takes away; `str.strip` knows more.
WHITE_SPACE = " \t\n\r\v\f"

# A prompt's last tokens that are looked at: a marker in ordinary characters, and white space.
_LAST_TOKENS = 32


@dataclass(frozen=True, slots=True)
class ThoughtFormat:
    """How thoughts begin and end: once in an answer, before all else.

    Attributes:
        name: what options name it by.
        opening: the marker before them; a control token where the tokenizer has one of that
            spelling, and else its characters.
        closing: the marker after them. Lines that are left empty after it belong to it.
        empty: what a template writes that has no thoughts, where it has no variable for that.
        levels: of effort, which the template's own variable takes, if it has one.
        in_channels: thoughts are messages on a channel, and have no markers of their own.
    """

    name: str
    opening: str = ""
    closing: str = ""
    empty: str = ""
    levels: tuple[str, ...] = ("low", "medium", "high")
    in_channels: bool = False

    def without(self, beginning: Beginning, *, switched: bool) -> str:
        """What ends a prompt whose answer has no thoughts.

        Args:
            beginning: where the answer stands without it.
            switched: whether the template has been told.
        """
        if beginning == "thinking":
            return self.empty.removeprefix(f"{self.opening}\n") or self.closing
        return self.empty if beginning == "undecided" and not switched else ""

    def beginning(self, prompt: Sequence[int], tokenizer: Tokenizer) -> Beginning:
        """Where an answer to `prompt` stands: a marker at the prompt's end says so."""
        if self.in_channels:
            return "undecided"
        found: dict[str, Beginning] = {self.opening: "thinking", self.closing: "answering"}
        controls = tokenizer.controls
        by_id: dict[int, Beginning] = {}
        in_words: dict[bytes, Beginning] = {}
        for marker, at in found.items():
            if marker in controls:
                by_id[controls[marker]] = at
            else:
                in_words[marker.encode()] = at
        tail = b""
        for token in reversed(prompt[-_LAST_TOKENS:]):
            if token in by_id:
                return by_id[token]
            tail = (tokenizer.token_bytes(token) or b"\0") + tail
            words = tail.strip()
            for marker, at in in_words.items():
                if words.endswith(marker):
                    return at
            if words and not any(marker.endswith(words) for marker in in_words):
                break
        return "undecided"
