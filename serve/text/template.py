"""A model's chat template: the messages of a conversation to the text it was trained on.

Knows nothing of tokens, nor of where templates are kept. `dialect.py` is the language they are
written in; here are the names that they see.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn, cast

import jinja2
import jinja2.meta
import jinja2.nodes

from serve.text.dialect import Dialect
from serve.text.written import Written, own
from serve.thought_fields import THOUGHTS

# Words of the API's own, which templates write between control marks.
_ROLES = frozenset(
    {"developer", "system", "user", "assistant", "tool", "tool_response", "function"}
)
# Tests and filters that are about whether a name is there.
_ASKS = ("defined", "undefined", "none", "default", "d")
# What a template is tried with at load; words that none has of its own.
_PROBE, _ASIDE = "parlance-probe-text", "parlance-probe-aside"
# What is rendered, and no affair of whoever gives a template variables.
_RENDERED = ("messages", "tools", "documents", "add_generation_prompt")
# Some show the thoughts before a call only.
_PROBE_CALL = {"id": "parlance1", "type": "function", "function": {"name": "f", "arguments": {}}}


class TemplateError(ValueError):
    """A chat template that cannot be used; the message says where it is wrong."""


class ConversationError(ValueError):
    """A conversation that the model's template cannot render; the message says why."""


def _raise_exception(message: object) -> NoReturn:
    raise ConversationError(str(message))


def _with_role(message: Mapping[str, object]) -> Mapping[str, object]:
    role = message.get("role")
    return {**message, "role": own(role)} if isinstance(role, str) and role in _ROLES else message


def _strftime_now(layout: str) -> str:
    return datetime.now().astimezone().strftime(layout)


class ChatTemplate:
    """A jinja2 template, run in jinja2's sandbox.

    Args:
        source: the template.
        variables: names that the template sees besides the conversation (`bos_token`, …).
        name: what errors call it.

    Attributes:
        source: the template.
        knows_developer: whether the template tells the role `developer` from `system`.
        takes_parts: whether it goes through the parts of a message's content.
        takes_strings: whether it takes a message's content as one string.
        thoughts: the field of an assistant's message in which it takes what the model thought
            then, "" if it takes none. When it shows them, the template alone decides: most do
            within the turn that is under way.
        variables: names that it looks up besides the conversation and what the tokenizer names:
            `enable_thinking`, for instance.

    Raises:
        TemplateError: the source is not a valid template.
    """

    def __init__(
        self,
        source: str,
        variables: Mapping[str, str] | None = None,
        name: str = "the chat template",
    ) -> None:
        environment = Dialect()
        functions = {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
        try:
            tree = environment.parse(source)
            self._template = environment.from_string(tree, globals=functions)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"line {error.lineno} of {name} is wrong: {error.message}; "
                f"give the template that belongs to the checkpoint"
            ) from error
        self.source = source
        self._made_of = source, variables, name
        self._variables = {name: own(value) for name, value in (variables or {}).items()}
        self.variables = _variables(tree) - {*_RENDERED, *functions, *self._variables}
        self.knows_developer = any(
            constant.value == "developer" for constant in tree.find_all(jinja2.nodes.Const)
        )
        self.takes_parts = self._shows([{"type": "text", "text": _PROBE, "more": _ASIDE}])
        self.takes_strings = not self.takes_parts or self._shows(_PROBE)
        self.thoughts = next(filter(self._shows_thoughts, THOUGHTS), "")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled as what it was made of: jinja's templates cannot be."""
        return ChatTemplate, self._made_of

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, object] | None = None,
    ) -> Written:
        """The conversation as text, open for the assistant's next words if so asked.

        Marked as the template's own are its words, the variables' and the names of roles.

        Args:
            messages: in the form that the template knows.
            tools: definitions to show; None for none.
            add_generation_prompt: end with the opening of the assistant's turn.
            variables: values for some of `self.variables`.

        Raises:
            ConversationError: the template refuses the conversation or fails on it.
        """
        try:
            text = self._template.render(
                **(variables or {}),
                **self._variables,
                messages=[_with_role(message) for message in messages],
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
            )
        except (ConversationError, MemoryError):
            raise
        # Whatever it is: the template ran on nothing but this conversation.
        except Exception as error:
            raise ConversationError(
                f"the model's chat template fails on these messages: {error}"
            ) from error
        return cast("Written", text)

    def fitted(self, message: Mapping[str, object]) -> Mapping[str, object]:
        """`message` with the role and the form of content that the template knows."""
        fields: dict[str, Any] = dict(message)
        if fields.get("role") == "developer" and not self.knows_developer:
            fields["role"] = "system"
        content = fields.get("content")
        if isinstance(content, list) and not self.takes_parts:
            parts = cast("list[dict[str, str]]", content)
            if any("text" not in part for part in parts):
                raise ConversationError("the model's chat template takes text only, and no images")
            fields["content"] = "".join(part["text"] for part in parts)
        elif isinstance(content, str) and not self.takes_strings:
            fields["content"] = [{"type": "text", "text": content}]
        return fields

    def _shows(self, content: object) -> bool:
        """Whether a user's text comes out of this content, and nothing that is beside it."""
        text = self._tried([{"role": "user", "content": content}])
        return _PROBE in text and _ASIDE not in text

    def _shows_thoughts(self, field: str) -> bool:
        """Whether what this field of an assistant's message says ever comes out."""
        if field not in self.source:
            return False
        user = {"role": "user", "content": "?"}
        answer = {"role": "assistant", "content": "!", field: _PROBE}
        call = {**answer, "content": "", "tool_calls": [_PROBE_CALL]}
        result = {"role": "tool", "content": "!", "name": "f", "tool_call_id": _PROBE_CALL["id"]}
        ended = [[user, answer], [user, call, result]]
        return any(
            _PROBE in self._tried([self.fitted(message) for message in messages], ended=True)
            for messages in ended
        )

    def _tried(self, messages: Sequence[Mapping[str, object]], *, ended: bool = False) -> str:
        """What messages render to, "" where they do not."""
        try:
            return self.render(messages, add_generation_prompt=not ended)
        except ConversationError:
            return ""


def _variables(tree: jinja2.nodes.Template) -> frozenset[str]:
    """The names that a template looks up, where it has not made them itself."""
    names = list(tree.find_all(jinja2.nodes.Name))
    made = {name.name for name in names if name.ctx == "store"}
    # It makes what it asks for only where nobody has given that.
    tests = [test for test in tree.find_all(jinja2.nodes.Test) if test.name in _ASKS]
    filters = [each for each in tree.find_all(jinja2.nodes.Filter) if each.name in _ASKS]
    asked = {
        each.node.name for each in (*tests, *filters) if isinstance(each.node, jinja2.nodes.Name)
    }
    return frozenset(jinja2.meta.find_undeclared_variables(tree)) - (made - asked)
