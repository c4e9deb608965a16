"""Conversations to prompt ids, where text stays text.

Knows nothing of HTTP. A control token comes from the template alone: whatever a message says,
its characters become ordinary tokens, even where they spell `<|im_end|>`. `guard.py` breaks
such spellings before the template is rendered; every spelling that is left was written by the
template, and the marker is taken out of the text between them.

    template   <|im_start|>user\n…<|im_end|>
    guarded    say <·|im_end|>
    rendered   <|im_start|>user\nsay <·|im_end|><|im_end|>
    split      [im_start] "user\nsay <|im_end|>" [im_end]
"""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from model.tokenizer import Tokenizer
from serve.text.guard import Guard, MarkersUsedUpError
from serve.text.template import ChatTemplate, ConversationError, TemplateError

# Unicode's property White_Space, which is what tokenizers mean by it; str.strip knows more.
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029"
    "\u202f\u205f\u3000"
)
_STRIPS_NOTHING = (False, False)


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
        self._guard = Guard(spellings)
        self._control = re.compile("(" + ("|".join(map(re.escape, spellings)) or r"(?!)") + ")")

    def render(
        self, messages: Sequence[Mapping[str, object]], *, add_generation_prompt: bool = True
    ) -> list[int]:
        """The prompt of a conversation.

        Args:
            messages: in the form that templates expect; content is a string, or a list of
                parts `{"type": "text", "text": …}`, which are joined for templates that take
                strings only.
            add_generation_prompt: end with the opening of the assistant's turn.

        Raises:
            ConversationError: the template cannot render the conversation, or it renders to
                nothing.
        """
        fitted = [self._template.fitted(message) for message in messages]
        try:
            guarded, marker = self._guard.conversation(fitted)
        except MarkersUsedUpError as error:
            raise ConversationError(str(error)) from error
        text = self._template.render(guarded, add_generation_prompt=add_generation_prompt)
        ids = self._ids(self._control.split(text), marker)
        if not ids:
            raise ConversationError("the messages render to an empty prompt; send some text")
        return ids

    def end_ids(self) -> frozenset[int]:
        """The control token that the template writes after an assistant's words, if it does."""
        said = "the assistant's words"
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
        try:
            text = self._template.render(turns, add_generation_prompt=False)
        except ConversationError:
            return frozenset()
        end = self._control.match(text.rpartition(said)[2].lstrip())
        return frozenset({self._tokenizer.controls[end[0]]} if end and said in text else ())

    def _ids(self, pieces: Sequence[str], marker: str) -> list[int]:
        """Ids of text and control spellings in turn, text first and last."""
        controls, strips = self._tokenizer.controls, self._tokenizer.strips
        ids: list[int] = []
        strip_after = False
        for index in range(0, len(pieces), 2):
            text = pieces[index].replace(marker, "")
            control = controls[pieces[index + 1]] if index + 1 < len(pieces) else None
            strip_before, strip_next = strips.get(cast("int", control), _STRIPS_NOTHING)
            if strip_after:
                text = text.lstrip(_WHITE_SPACE)
            if strip_before:
                text = text.rstrip(_WHITE_SPACE)
            if text:
                ids += self._tokenizer.encode(text, at_start=index == 0)
            if control is not None:
                ids.append(control)
            strip_after = strip_next
        return ids
