"""What every call format can do, and the formats that shapes describe. Knows no family."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from serve.text.calls.events import Parser
from serve.text.calls.grammar import answer_grammar
from serve.text.calls.history import (
    Definition,
    Message,
    TemplateInput,
    tool_definitions,
)
from serve.text.calls.own import OwnMarkers
from serve.text.calls.parser import CallParser
from serve.text.calls.shape import CallShape
from serve.text.calls.tools import Choice, Tool

Write = Callable[[str], str]


class CallFormat(Protocol):
    """One family's way to write calls."""

    @property
    def name(self) -> str:
        """What options name it by."""
        ...

    def grammar(
        self,
        tools: Sequence[Tool],
        choice: Choice,
        controls: Mapping[str, int],
        content: str | None = None,
    ) -> str:
        """The grammar of an answer, in llguidance's Lark.

        Args:
            tools: those that may be called; `allowed_tools` has been applied.
            choice: whether a call is wanted, of which tool, and how many.
            controls: spelling → id of the control tokens. They have to be special tokens of
                llguidance's tokenizer too, and to reach the parser through `feed_control`.
            content: the rule body of an answer without a call: `%json {…}`, a regular expression
                between slashes, which is kept free of what begins a call, or `%lark {…}`, which
                cannot be; None for any text.

        Raises:
            ValueError: the choice does not fit the tools, a schema takes no objects, the content
                could be taken for a call, or the tokenizer lacks a control token that the format
                cannot do without.
        """
        ...

    def parser(self, tools: Sequence[Tool], controls: Collection[str]) -> Parser:
        """A parser for one answer.

        Args:
            tools: those that may be called; without any, everything is text.
            controls: spellings that arrive as control tokens.
        """
        ...

    def for_template(self, messages: Sequence[Message], tools: Sequence[Tool]) -> TemplateInput:
        """A conversation and its tools as the family's templates expect them.

        Args:
            messages: in the API's form.
            tools: all that the request has, in its order.
        """
        ...


@dataclass(frozen=True, slots=True)
class ShapedFormat:
    """A format whose answers are text and then calls.

    Attributes:
        name: what options name it by.
        shapes: ways to write a call, the usual one first.
        custom_hint: how the model is told to call a custom tool named NAME.
        history: a conversation, definitions of its tools, and what puts the format's markers into
            words of its own, to what templates expect.
    """

    name: str
    shapes: tuple[CallShape, ...]
    custom_hint: str
    history: Callable[[Sequence[Message], Sequence[Definition], Write], TemplateInput]

    def grammar(
        self,
        tools: Sequence[Tool],
        choice: Choice,
        controls: Mapping[str, int],
        content: str | None = None,
    ) -> str:
        """The grammar of an answer."""
        return answer_grammar(self.shapes, tools, choice, controls, content)

    def parser(self, tools: Sequence[Tool], controls: Collection[str]) -> Parser:
        """A parser for one answer."""
        return CallParser(self.shapes, tools, controls)

    def for_template(self, messages: Sequence[Message], tools: Sequence[Tool]) -> TemplateInput:
        """A conversation and its tools as the family's templates expect them."""
        markers = {marker for shape in self.shapes for marker in shape.markers}
        # Arguments in JSON may hold characters as escapes, which only show in what templates get.
        plain = self.history(messages, tool_definitions(tools, self.custom_hint), str)
        own = OwnMarkers(markers, [*messages, *plain.messages, *(plain.tools or ())])
        definitions = tool_definitions(tools, own.write(self.custom_hint))
        return replace(self.history(messages, definitions, own.write), own=own.spellings)
