"""Prompts of scripts to token ids: strings, and conversations through the template.

A conversation means what it means in a request: the same schema checks it, the same renderer
renders it. Knows nothing of settings or answers.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated

from annotated_types import MinLen
from pydantic import ValidationError, model_validator

from model.tokenizer import Tokenizer
from serve.api.asking.conversation import template_messages
from serve.api.asking.media import MediaRefusals, asked_media
from serve.api.asking.no_effect import without_effect
from serve.api.asking.speech import SpeechOffer, check_answers
from serve.api.asking.validation import first_fault
from serve.api.asking.wanted import asked_answers
from serve.api.wire.errors import ApiError
from serve.api.wire.messages import Message, check_tool_answers
from serve.api.wire.strict import Strict
from serve.text.calls.history import with_system, with_system_of_user
from serve.text.render import Renderer
from serve.text.template import ConversationError

_TEXT_ONLY = "scripts show the model text only"
_NO_MEDIA = MediaRefusals(_TEXT_ONLY, _TEXT_ONLY, _TEXT_ONLY)
_NO_SPEECH = SpeechOffer(refusal=_TEXT_ONLY)
Prompt = str | Sequence[Mapping[str, object]]


class PromptEncoder:
    """Encodes prompts for one model.

    Args:
        tokenizer: of the strings.
        renderer: of the conversations.
        context_length: most tokens that a prompt and its answer have together.
    """

    def __init__(self, tokenizer: Tokenizer, renderer: Renderer, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._renderer = renderer
        self._context_length = context_length

    def encode(
        self,
        prompt: Prompt,
        instructions: str = "",
        variables: Mapping[str, object] | None = None,
    ) -> list[int]:
        """A prompt's ids.

        Args:
            prompt: a string or a conversation.
            instructions: what the system says at the end of a conversation's beginning.
            variables: of a conversation's template.

        Raises:
            ValueError: the prompt is empty, has a lone surrogate, or is a conversation that a
                request could not have or the template cannot render.
        """
        if isinstance(prompt, str):
            ids = self._tokenizer.encode(prompt)
            if ids:
                ids = [*self._tokenizer.opening, *ids]
        else:
            thoughts = self._renderer.template.thoughts
            told = _template_messages(prompt, thoughts)
            ids = self._conversation(told, instructions, variables)
        if not ids:
            raise ValueError("the prompt is empty; give some text")
        return ids

    def room(self, ids: Sequence[int]) -> int:
        """How many tokens a prompt leaves of the context, at least 1.

        Raises:
            ValueError: it leaves none.
        """
        room = self._context_length - len(ids)
        if room < 1:
            raise ValueError(
                f"the prompt has {len(ids)} tokens, and the context of {self._context_length} "
                f"must also hold an answer; shorten it"
            )
        return room

    def _conversation(
        self,
        messages: Sequence[Mapping[str, object]],
        instructions: str,
        variables: Mapping[str, object] | None,
    ) -> list[int]:
        told = with_system(messages, instructions)
        try:
            return self._renderer.render(told, variables=variables)
        except ConversationError:
            if told[0]["role"] == messages[0]["role"]:
                raise
            # The system part is not the conversation's: the template may know none.
            return self._renderer.render(with_system_of_user(told), variables=variables)


class _Conversation(Strict):
    """The messages of a request."""

    messages: Annotated[list[Message], MinLen(1)]

    @model_validator(mode="after")
    def _tools_were_called(self) -> "_Conversation":
        check_tool_answers(self.messages)
        return self


def _template_messages(
    messages: Sequence[Mapping[str, object]], thoughts: str
) -> list[dict[str, object]]:
    listed = list(messages) if isinstance(messages, tuple) else messages
    try:
        told = _Conversation.model_validate({"messages": listed}).messages
        asked_media(told, _NO_MEDIA)
        check_answers(asked_answers(told), _NO_SPEECH)
    except ValidationError as error:
        raise ValueError(first_fault(error).message) from error
    except ApiError as error:
        raise ValueError(error.message) from error
    if paths := without_effect(told, (), shows_thoughts=bool(thoughts)):
        warnings.warn(f"fields of a conversation that change nothing: {paths}", stacklevel=4)
    return template_messages(told, thoughts)
