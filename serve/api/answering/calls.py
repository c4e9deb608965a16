"""Calls in answers as JSON: members of a message, and of the deltas of a stream.

Knows nothing of how calls are found in a model's words.
"""

import json
import secrets
import string
from collections.abc import Sequence
from typing import Any

from serve.text.assemble import CallEvent
from serve.text.calls.events import CallEnded, CallKind, CallStarted

_BASE62 = string.digits + string.ascii_letters
# What a call's text is called: of a function, of a custom tool.
_TEXT = {"function": "arguments", "custom": "input"}


def new_call_id() -> str:
    """`call_` and 143 random bits in base 62."""
    return "call_" + "".join(secrets.choice(_BASE62) for _ in range(24))


class CallLog:
    """The calls of one choice while they are generated.

    Args:
        legacy: the answer has `function_call` rather than `tool_calls`.
    """

    def __init__(self, *, legacy: bool) -> None:
        self._legacy = legacy
        self._calls: list[_Call] = []

    @property
    def reason(self) -> str | None:
        """How a choice that ended its turn has ended, if with calls."""
        if not self._calls:
            return None
        return "function_call" if self._legacy else "tool_calls"

    def deltas(self, events: Sequence[CallEvent]) -> list[str]:
        """The members of a stream's deltas that tell what is new, one for each."""
        return [delta for event in events if (delta := self._delta(event))]

    @property
    def members(self) -> dict[str, Any]:
        """What the message of a plain response has besides its words."""
        if not self._calls:
            return {}
        if self._legacy:
            return {"function_call": self._calls[0].body("".join(self._calls[0].pieces))}
        return {"tool_calls": [call.whole("".join(call.pieces)) for call in self._calls]}

    def _delta(self, event: CallEvent) -> str:
        if isinstance(event, CallEnded):
            return ""
        if isinstance(event, CallStarted):
            call = _Call(new_call_id(), event.kind, event.name)
            self._calls.append(call)
            if self._legacy:
                return _member("function_call", call.body(""))
            return _member("tool_calls", [{"index": event.index, **call.whole("")}])
        call = self._calls[event.index]
        call.pieces.append(event.text)
        more = {_TEXT[call.kind]: event.text}
        if self._legacy:
            return _member("function_call", more)
        return _member("tool_calls", [{"index": event.index, call.kind: more}])


class _Call:
    def __init__(self, id_: str, kind: CallKind, name: str) -> None:
        self.id, self.kind, self.name = id_, kind, name
        self.pieces: list[str] = []

    def body(self, text: str) -> dict[str, str]:
        return {"name": self.name, _TEXT[self.kind]: text}

    def whole(self, text: str) -> dict[str, Any]:
        return {"id": self.id, "type": self.kind, self.kind: self.body(text)}


def _member(name: str, value: object) -> str:
    return f'"{name}":{json.dumps(value, separators=(",", ":"))}'
