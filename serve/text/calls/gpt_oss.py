"""gpt-oss: messages on channels (harmony), of which one may be addressed to a function.

    <|channel|>analysis<|message|>…<|end|><|start|>assistant      thoughts
    <|channel|>commentary<|message|>…<|end|><|start|>assistant    words before a call: content
    <|channel|>final<|message|>…<|return|>                        the answer: content
    <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
     to=functions.NAME<|channel|>commentary json<|message|>{…}<|call|>

A call ends the turn, so an answer holds one at most. A custom tool's input is the message's
text, of the type `text` instead of `json`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from serve.text.calls.events import (
    CallArguments,
    CallEnded,
    CallStarted,
    Content,
    Event,
    EventLog,
    Thought,
)
from serve.text.calls.grammar import Rules, custom_input, function_arguments, literal
from serve.text.calls.history import (
    Message,
    TemplateInput,
    one_call_each,
    plain_calls,
    text_of,
    tool_definitions,
    with_objects,
)
from serve.text.calls.json_end import JsonObject
from serve.text.calls.tools import Choice, CustomTool, Tool

_CONTROLS = (
    "<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"
)  # fmt: skip
_ENDS = frozenset({"<|end|>", "<|call|>", "<|return|>"})
_RECIPIENT = re.compile(r"\bto=functions\.([A-Za-z0-9_-]+)")
_CHANNEL = re.compile(r"<\|channel\|>\s*([a-z]+)")

_CUSTOM_HINT = "This function takes plain text, of the type text instead of json."


class HarmonyParser:
    """One answer's parser, fed from behind `<|start|>assistant` on.

    Args:
        tools: those that may be called. What is said to others is dropped.
        in_answer: whether the prompt ends amid a message of the final channel.

    Attributes:
        verbatim: False, for any message may be followed by another.
        thinking: whether what comes next is thought.
    """

    verbatim = False

    def __init__(self, tools: Sequence[Tool], *, in_answer: bool = False) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._log = EventLog()
        self._fed = 0
        self._calls = 0
        self._header: str | None = None if in_answer else ""
        self._is_content = in_answer
        self.thinking = False
        self._call: int | None = None
        self._json: JsonObject | None = None

    def feed(self, text: str) -> list[Event]:
        """What `text` makes certain."""
        if self._header is not None:
            self._header += text
        elif self._is_content and text:
            self._log.add(Content(text, self._fed))
        elif self.thinking and text:
            self._log.add(Thought(text, self._fed))
        elif self._call is not None:
            self._argue(self._call, text)
        self._fed += len(text)
        return self._log.take()

    def feed_control(self, spelling: str, text: str = "") -> list[Event]:
        """What a control token between the characters makes certain."""
        self._fed += len(text)
        if spelling in _ENDS:
            self._end(complete=True)
        elif spelling == "<|start|>":
            self._end(complete=False)
            self._header = ""
        elif spelling == "<|message|>" and self._header is not None:
            self._begin(self._header)
        elif self._header is not None:
            self._header += spelling
        return self._log.take()

    def flush(self, *, turn_ended: bool) -> list[Event]:
        """The end of the answer.

        Args:
            turn_ended: whether the model ended its turn, with `<|call|>` for instance.
        """
        self._end(complete=turn_ended)
        return self._log.take()

    def _begin(self, header: str) -> None:
        self._header = None
        recipient = _RECIPIENT.search(header)
        channel = _CHANNEL.search(header)
        named = "" if channel is None or "to=" in header else channel[1]
        self._is_content = named in ("final", "commentary")
        self.thinking = named == "analysis"
        if recipient is None or (tool := self._tools.get(recipient[1])) is None:
            return
        custom = isinstance(tool, CustomTool)
        self._call, self._calls = self._calls, self._calls + 1
        self._json = None if custom else JsonObject()
        self._log.add(CallStarted(self._call, tool.name, "custom" if custom else "function"))

    def _argue(self, call: int, text: str) -> None:
        if self._json is None:
            if text:
                self._log.add(CallArguments(call, text))
            return
        for character in text:
            self._log.add(CallArguments(call, character))
            if self._json.ends_with(character):
                self._log.add(CallEnded(call, complete=True))
                self._call = None
                return

    def _end(self, *, complete: bool) -> None:
        if self._call is not None:
            # JSON that has not been closed is never complete.
            self._log.add(CallEnded(self._call, complete=complete and self._json is None))
        self._call = None
        self._is_content = self.thinking = False


@dataclass(frozen=True, slots=True)
class GptOss:
    """The harmony format.

    Attributes:
        name: what options name it by.
        thinks: whether its grammar has thoughts.
    """

    name: str = "gpt-oss"
    thinks: bool = True

    def grammar(
        self,
        tools: Sequence[Tool],
        choice: Choice,
        controls: Mapping[str, int],
        content: str | None = None,
    ) -> str:
        """The grammar of an answer.

        Raises:
            ValueError: the choice does not fit the tools, a schema takes no objects, or the
                tokenizer lacks one of the format's control tokens.
        """
        if missing := [spelling for spelling in _CONTROLS if spelling not in controls]:
            raise ValueError(
                f"the tool format 'gpt-oss' needs the control tokens {missing}, which the "
                f"tokenizer does not have; choose another with --tool-format"
            )
        allowed = choice.allowed(tools)
        start, channel, constrain, message, end, call = (
            f"<[{controls[spelling]}]>" for spelling in _CONTROLS
        )
        rules = Rules()
        text = rules.terminal("/(?s:.*)/")
        again = f'{end} {start} "assistant"'
        thought = rules.rule(f'{channel} "analysis" {message} {text} {again}')
        preamble = rules.rule(f'{channel} "commentary" {message} {text} {again}')
        answer = text if content is None else rules.rule(content)
        final = f'{channel} "final" {message} {answer}'
        calls: list[str] = []
        for tool in allowed:
            custom = isinstance(tool, CustomTool)
            kind = "text" if custom else "json"
            to = f"to=functions.{tool.name}"
            body = rules.rule(custom_input(tool, "") if custom else function_arguments(tool))
            in_channel = f"{channel} {literal(f'commentary {to} ')} {constrain} {literal(kind)}"
            in_role = f"{literal(f' {to}')} {channel} {literal(f'commentary {kind}')}"
            calls.append(rules.rule(f"({in_channel} | {in_role}) {message} {body} {call}"))
        if choice.mode == "required":
            # One thought and no more: a call is wanted.
            before = f"{thought}?" if self.thinks else ""
            return rules.grammar([f"{before} {one}" for one in calls])
        before = f"{thought}*" if self.thinks else ""
        if content is None:
            # Not where an answer has to be of one form, which then is all of it.
            before += f" {preamble}?"
        return rules.grammar([f"{before} {last}" for last in (final, *calls)])

    def parser(self, tools: Sequence[Tool], controls: Collection[str]) -> HarmonyParser:
        """A parser for one answer."""
        del controls  # Every marker is a control token; `grammar` refuses a tokenizer without.
        return HarmonyParser(tools)

    def for_template(self, messages: Sequence[Message], tools: Sequence[Tool]) -> TemplateInput:
        """A conversation and its tools as the published template expects them.

        Of a message with several calls it writes the first, so each gets one of its own.
        """
        single = one_call_each(with_objects(plain_calls(messages)))
        told = [_with_one_preamble(message) for message in single]
        return TemplateInput(told, tool_definitions(tools, _CUSTOM_HINT) or None)


def _with_one_preamble(message: Message) -> Message:
    """What was thought before a call, and said: the template writes one of them, as thoughts."""
    thoughts, words = message.get("thinking"), text_of(message["content"])
    if "tool_calls" not in message or not thoughts or not words:
        return message
    return {**message, "content": "", "thinking": f"{thoughts}\n\n{words}"}


GPT_OSS = GptOss()
WITHOUT_THOUGHTS = GptOss(thinks=False)
