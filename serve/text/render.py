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

from collections.abc import Collection, Mapping, Sequence

from model.tokenizer import Tokenizer
from serve.text.guard import Guard, MarkersUsedUpError, spelling_pattern
from serve.text.template import ChatTemplate, ConversationError, TemplateError

# Unicode's property White_Space, which is what tokenizers mean by it; str.strip knows more.
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029"
    "\u202f\u205f\u3000"
)
_STRIPS_NOTHING = (False, False)
_NONE: Mapping[str, str] = {}


class Renderer:
    """A tokenizer and a chat template together.

    Attributes:
        template: the template.

    Raises:
        TemplateError: a control token of the tokenizer is spelled with one character, which
            could not be told from text.
    """

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        short = [spelling for spelling in tokenizer.controls if len(spelling) < 2]
        if short:
            raise TemplateError(
                f"the tokenizer has the control token {short[0]!r}; a control token needs "
                f"two characters or more, so that text can be told from it"
            )
        self._tokenizer = tokenizer
        self.template = template
        self._strips: Mapping[int | None, tuple[bool, bool]] = {**tokenizer.strips}
        self._guard = Guard(tokenizer.controls)
        self._control = spelling_pattern(tokenizer.controls)

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        *,
        own: Mapping[str, str] = _NONE,
        add_generation_prompt: bool = True,
    ) -> list[int]:
        """The prompt of a conversation.

        Args:
            messages: in the form that templates expect; content is a string, or a list of
                parts `{"type": "text", "text": …}`, which are joined for templates that take
                strings only.
            tools: definitions for the template to show, if any.
            own: character of the messages or tools → the control token that it stands for.
            add_generation_prompt: end with the opening of the assistant's turn.

        Raises:
            ConversationError: the template cannot render the conversation, or it renders to
                nothing.
        """
        fitted = [self.template.fitted(message) for message in messages]
        try:
            guarded, shown, marker = self._guard.conversation(fitted, tools or (), own)
        except MarkersUsedUpError as error:
            raise ConversationError(str(error)) from error
        text = self.template.render(
            guarded,
            None if tools is None else shown,
            add_generation_prompt=add_generation_prompt,
        )
        for character, spelling in own.items():
            # Between markers no spelling is formed with what stands beside it.
            text = text.replace(character, f"{marker}{spelling}{marker}")
        ids = self._ids(text, marker)
        if not ids:
            raise ConversationError("the messages render to an empty prompt; send some text")
        return ids

    def end_ids(self, declared: Collection[int] = ()) -> frozenset[int]:
        """The ids that end a turn: those that the checkpoint declares, and the template's own.

        Raises:
            TemplateError: there are none.
        """
        found = frozenset(declared) | self._written_after_the_assistant()
        if not found:
            raise TemplateError(
                "nothing in the checkpoint says which token ends a turn; give its "
                "generation_config.json an eos_token_id"
            )
        return found

    def _written_after_the_assistant(self) -> frozenset[int]:
        said = "the assistant's words"
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
        try:
            text = self.template.render(turns, add_generation_prompt=False)
        except ConversationError:
            return frozenset()
        end = self._control.match(text.rpartition(said)[2].lstrip())
        return frozenset({self._tokenizer.controls[end[0]]} if end and said in text else ())

    def _ids(self, rendered: str, marker: str) -> list[int]:
        ids: list[int] = []
        position, before = 0, _STRIPS_NOTHING
        for match in (*self._control.finditer(rendered), None):
            control = None if match is None else self._tokenizer.controls[match[0]]
            after = self._strips.get(control, _STRIPS_NOTHING)
            text = rendered[position : match and match.start()].replace(marker, "")
            if before[1]:
                text = text.lstrip(_WHITE_SPACE)
            if after[0]:
                text = text.rstrip(_WHITE_SPACE)
            if text:
                ids += self._tokenizer.encode(text, at_start=position == 0)
            if match and control is not None:
                ids.append(control)
                position, before = match.end(), after
        return ids
