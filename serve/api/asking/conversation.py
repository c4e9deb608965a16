"""A request's messages to the token ids of its prompt.

Owns what is added to a conversation on its way: the schema in words, and histories of calls in
the model's own form. Knows nothing of how templates or tokenizers work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from serve.api.asking.answer_form import AnswerForm
from serve.api.asking.asked_tools import AskedTools
from serve.api.asking.bounds import context_exceeded
from serve.api.asking.media import SEARCH, Piece, Shown, part_place
from serve.api.asking.wanted import answer_place
from serve.api.wire.audio import AudioPart
from serve.api.wire.errors import invalid
from serve.api.wire.media import FilePart, MediaPart
from serve.api.wire.messages import (
    AssistantMessage,
    Message,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)
from serve.text.calls.format import CallFormat
from serve.text.calls.history import with_system, with_system_of_user
from serve.text.pictures import Views
from serve.text.render import Renderer, TooLongError
from serve.text.template import ConversationError
from serve.text.verbosity import VERBOSITY, said_in_words

Part = TextPart | RefusalPart | MediaPart

_OF_CALLS = ("tool_calls", "function_call", "tool_call_id")
_NOTHING: Shown = {}
# What templates are told of a call.
_FUNCTION = {"name", "arguments"}
_CALL: Any = {"id": True, "type": True, "function": _FUNCTION, "custom": {"name", "input"}}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a prompt ends, and what else the template is told.

    Attributes:
        add_generation_prompt: with the opening of the assistant's turn.
        continue_final_message: amid the last message.
        variables: of the template.
    """

    add_generation_prompt: bool = True
    continue_final_message: bool = False
    variables: Mapping[str, object] = field(default_factory=dict[str, object])


_OPEN = Ending()


@dataclass(frozen=True, slots=True)
class ConversationRenderer:
    """Renders conversations for one model.

    Attributes:
        renderer: makes prompts of messages.
        call_format: how the model writes calls of tools.
        schema_in_prompt: show the model the schema, or the texts, that its answer must follow.
    """

    renderer: Renderer
    call_format: CallFormat
    schema_in_prompt: bool

    def prompt(
        self,
        messages: Sequence[Message],
        form: AnswerForm | None,
        tools: AskedTools | None,
        most: int | None = None,
        ending: Ending = _OPEN,
        *,
        verbosity: str | None = None,
        shown: Shown = _NOTHING,
        pictures: Sequence[Views] = (),
    ) -> list[int]:
        """The token ids of a conversation.

        Args:
            messages: of the request.
            form: what the answer must be, if not just text.
            tools: what may be called, if anything.
            most: ids that are wanted; see `Renderer.render`.
            ending: of the prompt.
            verbosity: `low`, `medium` or `high`, if asked for.
            shown: what stands for parts that are pictures or files.
            pictures: the views of all pictures among it, in their order.

        Raises:
            ApiError: 400; the model's template cannot render the conversation, or it is far
                longer than `most`.
        """
        try:
            told = template_messages(messages, self.renderer.template.thoughts, shown)
            render = partial(self.renderer.render, most=most, pictures=pictures)
            return self._render(render, told, form, tools, ending, verbosity)
        except TooLongError as error:
            raise context_exceeded(f"more than {error.most}", error.most) from error
        except ConversationError as error:
            raise invalid("invalid_value", str(error), "messages") from error

    def _render(
        self,
        renderer: Callable[..., list[int]],
        messages: Sequence[Mapping[str, object]],
        form: AnswerForm | None,
        tools: AskedTools | None,
        ending: Ending,
        verbosity: str | None,
    ) -> list[int]:
        told, variables = messages, dict(ending.variables)
        if words := said_in_words(verbosity):
            if VERBOSITY in variables:
                raise invalid(
                    "invalid_value",
                    f"'verbosity' sets the variable '{VERBOSITY}' of the model's template: send "
                    f"one of the two.",
                    f"chat_template_kwargs.{VERBOSITY}",
                )
            if VERBOSITY in self.renderer.template.variables:
                variables[VERBOSITY] = verbosity
            else:
                told = with_system(told, words)
        if form is not None and form.instructions and self.schema_in_prompt:
            told = with_system(told, form.instructions)
        shown, own = None, {}
        if tools is not None or _is_of_calls(messages):
            fitted = self.call_format.for_template(told, () if tools is None else tools.tools)
            told, shown, own = fitted.messages, fitted.tools, fitted.own
        render = partial(
            renderer,
            tools=shown,
            own=own,
            add_generation_prompt=ending.add_generation_prompt,
            continue_final_message=ending.continue_final_message,
            variables=variables,
        )
        try:
            return render(told)
        except ConversationError:
            if told[0]["role"] == messages[0]["role"]:
                raise
            # The system part is not the request's: the template may know none.
            return render(with_system_of_user(told))


def template_messages(
    messages: Sequence[Message], thoughts: str = "", shown: Shown = _NOTHING
) -> list[dict[str, object]]:
    """The messages as `Renderer.render` takes them.

    Content is a string, or a list of parts where parts were sent; absent fields are absent.

    Args:
        messages: of the request.
        thoughts: the field in which the template takes what an assistant thought, if any.
        shown: what stands for what is no text; what was found comes before the words of the
            user's last message.
    """
    before = dict[int, Sequence[Piece]]()
    if SEARCH in shown:
        asking = (n for n, each in enumerate(messages) if isinstance(each, UserMessage))
        before[max(asking)] = shown[SEARCH]
    return [
        _for_template(
            message, thoughts, _shown_content(index, message, shown, before.get(index, ()))
        )
        for index, message in enumerate(messages)
    ]


def _for_template(message: Message, thoughts: str, content: object) -> dict[str, object]:
    fields: dict[str, Any] = {"role": message.role, "content": content}
    if isinstance(message, AssistantMessage):
        if message.tool_calls:
            fields["tool_calls"] = [call.model_dump(include=_CALL) for call in message.tool_calls]
        if message.function_call:
            fields["function_call"] = message.function_call.model_dump(include=_FUNCTION)
        if thoughts and message.thoughts:
            fields[thoughts] = message.thoughts
    if isinstance(message, ToolMessage):
        fields["tool_call_id"] = message.tool_call_id
    elif message.name is not None:
        fields["name"] = message.name
    return fields


def _shown_content(
    index: int, message: Message, shown: Shown, before: Sequence[Piece]
) -> str | list[dict[str, str]]:
    content = message.content
    refusal = ""
    if isinstance(message, AssistantMessage):
        refusal = message.refusal or ""
        if message.audio is not None:
            content = "".join(map(str, shown[answer_place(index)]))
    if not isinstance(content, list):
        # What was found is whole lines.
        return "\n".join([*map(str, before), (content or "") + refusal])
    pieces: list[Piece] = [*before]
    after_block = bool(before)
    for number, part in enumerate(content):
        if isinstance(part, TextPart):
            added: Sequence[Piece] = [part.text]
        elif isinstance(part, RefusalPart):
            added = [part.refusal]
        else:
            added = shown[part_place(index, number)]
        is_block = _is_block(part, added)
        if is_block or after_block:
            _add_lines(pieces, added)
        else:
            pieces += added
        after_block = is_block
    if refusal:
        pieces.append(refusal)
    return [
        {"type": "text", "text": piece} if isinstance(piece, str) else {"type": "image"}
        for piece in pieces
    ]


def _is_block(part: Part, added: Sequence[Piece]) -> bool:
    """Whether it is whole lines."""
    if isinstance(part, FilePart):
        return True
    return isinstance(part, AudioPart) and str(added[-1]).endswith("\n")


def _add_lines(pieces: list[Piece], added: Sequence[Piece]) -> None:
    """Go on with the text before, on a line of its own: templates may trim each part."""
    if pieces and added and isinstance(pieces[-1], str) and isinstance(added[0], str):
        line_end = "" if pieces[-1].endswith("\n") else "\n"
        pieces[-1] += line_end + added[0]
        added = added[1:]
    pieces += added


def _is_of_calls(messages: Sequence[Mapping[str, object]]) -> bool:
    """Whether a conversation holds calls of tools, or results."""
    return any(
        message["role"] == "function" or any(field in message for field in _OF_CALLS)
        for message in messages
    )
