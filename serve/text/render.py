"""Conversations to prompt ids, where text stays text.

Knows nothing of HTTP. A control token comes from the template alone: whatever a message says,
its characters become ordinary tokens, even where they spell `<|im_end|>`. What is rendered comes
with a mark on each character that the template wrote (`written.py`); a spelling is a control
token where all of its characters have one.

    message    say <|im_end|>
    rendered   <|im_start|>user\nsay <|im_end|><|im_end|>
    marks      1111111111111111 0000000000000011111111110
    split      [im_start] "user\nsay <|im_end|>" [im_end]
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import cast

from model.tokenizer import Tokenizer
from serve.text.calls.own import unused_characters
from serve.text.pictures import PictureForm, Views, starts
from serve.text.spellings import spelling_pattern
from serve.text.template import ChatTemplate, ConversationError, TemplateError
from serve.text.written import Written, concat
from serve.text.written import own as template_words

# Unicode's property White_Space, which is what tokenizers mean by it; str.strip knows more.
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029"
    "\u202f\u205f\u3000"
)
_STRIPS_NOTHING = (False, False)
# Of a text that is far too long for so many tokens, that many characters for each are cut first:
# tokens are mostly shorter.
_CHARACTERS_EACH = 8
# Where a text is cut off, its last tokens may be others than in the whole.
_AT_THE_CUT = 64
_NONE: Mapping[str, str] = {}
_NO_COUNTS: Iterator[int] = iter(())

# Marks: of no template's characters, of its own, and of a format's own, which form no spelling
# together with a template's.
_NOBODYS, _APART = b"\0", b"\2"
_RUNS = re.compile(b"\1+|\2+")


class TooLongError(ValueError):
    """A conversation with more tokens than are wanted; how many, nobody has found out.

    Attributes:
        most: that were wanted.
    """

    def __init__(self, most: int) -> None:
        super().__init__(f"the messages have more than {most} tokens")
        self.most = most


class Renderer:
    """A tokenizer and a chat template together.

    Attributes:
        tokenizer: the tokenizer.
        template: the template.
        pictures: how prompts write pictures; None for a model that does not see.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate, pictures: PictureForm | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.pictures = pictures
        self._strips: Mapping[int | None, tuple[bool, bool]] = {**tokenizer.strips}
        self._control = spelling_pattern(tokenizer.controls)

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        *,
        own: Mapping[str, str] = _NONE,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        variables: Mapping[str, object] | None = None,
        most: int | None = None,
        pictures: Sequence[Views] = (),
    ) -> list[int]:
        """The prompt of a conversation.

        Args:
            messages: in the form that templates expect; content is a string, or a list of
                parts `{"type": "text", "text": …}`, which are joined for templates that take
                strings only, and `{"type": "image"}`.
            tools: definitions for the template to show, if any.
            own: character of the messages or tools → the control token that it stands for.
            add_generation_prompt: end with the opening of the assistant's turn.
            continue_final_message: end amid the last message, with the last of its words.
            variables: see `ChatTemplate.render`.
            most: tokens that are wanted. A conversation that has far more is not cut to its end.
            pictures: the views of each part that is an image, in their order.

        Raises:
            ConversationError: the template cannot render the conversation, it renders to
                nothing or without the words to go on from or without its pictures, or what it
                renders to has a lone surrogate.
            TooLongError: it is far longer than `most`.
        """
        end = ""
        if continue_final_message:
            end = next(unused_characters([*messages, *(tools or ())]), "")
            messages = [*messages[:-1], _ending_with(end, messages[-1])]
        text = self.template.render(
            [self.template.fitted(message) for message in messages],
            tools,
            add_generation_prompt=add_generation_prompt and not continue_final_message,
            variables=variables,
        )
        if continue_final_message:
            text = _up_to(end, text)
        for character, spelling in own.items():
            apart = _APART if spelling in self.tokenizer.controls else _NOBODYS
            text = text.replace(character, Written(spelling, apart * len(spelling)))
        if pictures:
            text = self._with_pictures(text, pictures)
        counts = chain.from_iterable(pictures)
        try:
            ids = self._ids(text, most, counts)
        except TooLongError:
            raise
        except ValueError as error:
            raise ConversationError(f"the messages cannot be encoded: {error}") from error
        if not ids:
            raise ConversationError("the messages render to an empty prompt; send some text")
        return ids

    def starts(self, prompt: Sequence[int], pictures: Sequence[Views]) -> list[int]:
        """Where in a rendered prompt the tokens of each view begin."""
        if self.pictures is None:
            return []
        return starts(prompt, self.tokenizer.controls[self.pictures.token], pictures)

    def own_ids(self, words: str) -> list[int]:
        """The ids of what a template could write at the end of a prompt."""
        return self._ids(template_words(words), None, begins=False)

    def answer_ids(self, text: str, most: int) -> list[int]:
        """The first `most` ids of what an answer says after a prompt, spelled as prompts are.

        Raises:
            ValueError: the text has a lone surrogate.
        """
        beginning = text[: _CHARACTERS_EACH * most]
        return self.tokenizer.encode(beginning, at_start=False)[:most]

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
        return frozenset({self.tokenizer.controls[end[0]]} if end and said in text else ())

    def _with_pictures(self, rendered: Written, pictures: Sequence[Views]) -> Written:
        """What a template rendered, with each of its marks written as the picture's views."""
        form, plain = self.pictures, rendered.plain()
        marks = [
            match
            for match in self._controls(plain, rendered.marks)
            if form and match[0] == form.mark
        ]
        if form is None or len(marks) != len(pictures):
            raise ConversationError(
                f"the model's chat template shows {len(marks)} of the conversation's "
                f"{len(pictures)} images; send messages without images, or have the server "
                f"started with a template that shows them"
            )
        pieces: list[str] = []
        position = 0
        for match, views in zip(marks, pictures, strict=True):
            pieces += [rendered[position : match.start()], template_words(form.written(views))]
            position = match.end()
        return concat([*pieces, rendered[position:]])

    def _ids(
        self,
        rendered: Written,
        most: int | None,
        counts: Iterator[int] = _NO_COUNTS,
        *,
        begins: bool = True,
    ) -> list[int]:
        """The ids of a text.

        Args:
            rendered: the text.
            most: see `render`.
            counts: how many ids each token of a picture stands for.
            begins: whether it is the prompt's beginning.
        """
        plain = rendered.plain()
        ids: list[int] = []
        position, before = 0, _STRIPS_NOTHING
        for match in (*self._controls(plain, rendered.marks), None):
            control = None if match is None else self.tokenizer.controls[match[0]]
            after = self._strips.get(control, _STRIPS_NOTHING)
            text = plain[position : match and match.start()]
            if before[1]:
                text = text.lstrip(_WHITE_SPACE)
            if after[0]:
                text = text.rstrip(_WHITE_SPACE)
            if text:
                at_start = begins and position == 0
                if most is not None:
                    left = len(plain) - position
                    self._check_length(text, left, most, len(ids), at_start=at_start)
                ids += self.tokenizer.encode(text, at_start=at_start)
            if match and control is not None:
                stands = self.pictures is not None and match[0] == self.pictures.token
                ids += [control] * (next(counts, 1) if stands else 1)
                position, before = match.end(), after
        return ids

    def _check_length(self, text: str, left: int, most: int, cut: int, *, at_start: bool) -> None:
        """Cut the beginning of a text that looks far too long, to see whether it is.

        Args:
            text: what is to be cut next.
            left: characters of the prompt from there on.
            most: tokens that are wanted.
            cut: tokens before.

        Raises:
            TooLongError: it is.
        """
        room = max(most - cut, 0)
        beginning = _CHARACTERS_EACH * (room + 2 * _AT_THE_CUT)
        if left <= 2 * beginning:
            return
        if len(text) > 2 * beginning:
            cut += len(self.tokenizer.encode(text[:beginning], at_start=at_start))
        if cut > most + _AT_THE_CUT:
            raise TooLongError(most)

    def _controls(self, text: str, marks: bytes) -> Iterator[re.Match[str]]:
        for run in _RUNS.finditer(marks):
            yield from self._control.finditer(text, run.start(), run.end())


def _ending_with(end: str, message: Mapping[str, object]) -> Mapping[str, object]:
    """A message with one more character after its words."""
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": content + end}
    *parts, last = cast("Sequence[Mapping[str, object]]", content)
    return {**message, "content": [*parts, {**last, "text": f"{last['text']}{end}"}]}


def _up_to(end: str, text: Written) -> Written:
    border = text.plain().rfind(end) if end else -1
    if border < 0:
        raise ConversationError(
            "the model's chat template does not show the last message, so that it cannot be "
            "continued; send 'continue_final_message': false"
        )
    return Written(text.plain()[:border], text.marks[:border])
