"""An answer to content and calls, by the shapes in which a family writes calls.

What cannot be a call after all is text, and read again from its second character on. Where an
answer is cut off in what may be a call's beginning, that is no text. White space before a call
belongs to the call. A call is told as soon as its arguments begin, and the
arguments as they come.
"""

from collections import deque
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass

from serve.text.calls.events import (
    CallArguments,
    CallEnded,
    CallKind,
    CallStarted,
    Content,
    Event,
    EventLog,
)
from serve.text.calls.json_end import JsonObject
from serve.text.calls.pattern import SPACE, Control, Hole, Item, Pattern, Step, steps
from serve.text.calls.shape import CallShape, Marker
from serve.text.calls.tools import CustomTool, FunctionTool, Tool


@dataclass(frozen=True, slots=True)
class _Fed:
    """An item of an answer.

    Attributes:
        item: None at the answer's end.
        start: how many characters came before it.
        text: what it reads where it belongs to no call.
    """

    item: Item | None
    start: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way for an answer to go on.

    Attributes:
        shape: the shape that says so.
        sought: what it looks like.
        kind: of the call that it opens; None where it opens none.
        settled: after so many steps it can be nothing else, even if the turn ends there.
    """

    shape: CallShape
    sought: Sequence[Step]
    kind: CallKind | None
    settled: int = 0


@dataclass(frozen=True, slots=True)
class _Gone:
    """A way that was gone, and the name that stood on it."""

    way: _Way
    name: str


class CallParser:
    """One answer's parser.

    Args:
        shapes: how calls are written.
        tools: those that may be called. What names another is text.
        controls: spellings that arrive through `feed_control` and never through `feed`.
    """

    thinking = verbatim = False

    def __init__(
        self, shapes: Sequence[CallShape], tools: Sequence[Tool], controls: Collection[str]
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._names = {
            "function": [tool.name for tool in tools if isinstance(tool, FunctionTool)],
            "custom": [tool.name for tool in tools if isinstance(tool, CustomTool)],
        }
        self._controls = controls
        self._openings = [
            way
            for shape in shapes
            if shape.usable(controls)
            for way in self._opening(shape)
            if way.kind and self._names[way.kind]
        ]
        self._log = EventLog()
        self._calls = 0
        self._fed = 0
        self._end: _Fed | None = None
        self._turn_ended = False
        self._again: deque[_Fed] = deque()
        self._reading = self._answer()
        next(self._reading)

    def feed(self, text: str) -> list[Event]:
        """What `text` makes certain."""
        for character in text:
            self._reading.send(_Fed(character, self._fed, character))
            self._fed += 1
        return self._log.take()

    def feed_control(self, spelling: str, text: str = "") -> list[Event]:
        """What a control token between the characters makes certain."""
        self._reading.send(_Fed(Control(spelling), self._fed, text))
        self._fed += len(text)
        return self._log.take()

    def flush(self, *, turn_ended: bool) -> list[Event]:
        """The end of the answer.

        Args:
            turn_ended: whether the model ended its turn, rather than being cut off.
        """
        self._turn_ended = turn_ended
        self._end = _Fed(None, self._fed)
        self._reading.send(self._end)
        return self._log.take()

    def _opening(self, shape: CallShape) -> list[_Way]:
        trigger = steps((shape.trigger,), self._controls)
        trigger = trigger[1:] if trigger[0] is Hole.SPACE else trigger
        lead = (*trigger, *steps(shape.opening, self._controls))
        return self._calls_after(shape, lead, settled=len(trigger))

    def _calls_after(
        self, shape: CallShape, lead: Sequence[Step], *, settled: int = 0
    ) -> list[_Way]:
        """The ways to open a call after `lead`."""
        head = [*lead, *steps((shape.head,), self._controls), Hole.NAME]
        function = [*head, *steps((*shape.separator, "{"), self._controls)[:-1]]
        *before, last = shape.custom_separator
        exact = steps((last,), self._controls, exact=True)
        custom = [*head, *steps(before, self._controls), *exact]
        return [
            _Way(shape, function, "function", settled),
            _Way(shape, custom, "custom", settled),
        ]

    def _after_arguments(self, shape: CallShape) -> list[_Way]:
        tail = steps((shape.tail,), self._controls)
        closing = [*tail, *steps(shape.closing, self._controls)]
        while closing and closing[-1] is Hole.SPACE:
            closing.pop()
        ways = [_Way(shape, closing, None)]
        if shape.between is not None:
            ways += self._calls_after(shape, (*tail, *steps(shape.between, self._controls)))
        return ways

    def _next(self) -> Generator[None, _Fed, _Fed]:
        if self._again:
            return self._again.popleft()
        return self._end or (yield)

    def _match(self, ways: Sequence[_Way]) -> Generator[None, _Fed, _Gone | None]:
        """The first of `ways` that the answer goes; if none, what was read is read again."""
        for way in ways:
            if not way.sought:
                return _Gone(way, "")
        alive = [
            (way, Pattern(way.sought, self._names[way.kind] if way.kind else ())) for way in ways
        ]
        read: list[_Fed] = []
        while alive:
            fed = yield from self._next()
            read.append(fed)
            if fed.item is None:
                if ends := [
                    way
                    for way, pattern in alive
                    if pattern.taken >= way.settled or (way.kind and not self._turn_ended)
                ]:
                    # Cut off where a call may be beginning: no text, and no call yet.
                    return _Gone(_Way(ends[0].shape, (), None), "")
                break
            verdicts = [(way, pattern, pattern.advance(fed.item)) for way, pattern in alive]
            for way, pattern, verdict in verdicts:
                if verdict == "whole":
                    return _Gone(way, pattern.name)
            alive = [(way, pattern) for way, pattern, verdict in verdicts if verdict == "more"]
        self._again.extendleft(reversed(read))
        return None

    def _answer(self) -> Generator[None, _Fed, None]:
        while True:
            gone = yield from self._text()
            while gone is not None and gone.way.kind is not None:
                gone = yield from self._call(gone.way.shape, gone.way.kind, gone.name)
            if self._end and not self._again:
                break
        while True:
            yield

    def _text(self) -> Generator[None, _Fed, _Gone | None]:
        """Text up to a call; what opened it, or None at the end of the answer."""
        space: list[_Fed] = []
        at_start = self._calls == 0
        while True:
            fed = yield from self._next()
            ways = [
                way
                for way in self._openings
                if way.sought[0] == fed.item and (at_start or not way.shape.at_start)
            ]
            if ways:
                self._again.appendleft(fed)
                if gone := (yield from self._match(ways)):
                    return gone
                fed = yield from self._next()
            if fed.item is not None and not fed.text:
                continue
            if fed.item in SPACE:
                space.append(fed)
                continue
            if fed.item is not None or not self._calls:
                for held in space:
                    self._log.add(Content(held.text, held.start))
                space = []
            if fed.item is None:
                return None
            self._log.add(Content(fed.text, fed.start))
            at_start = False

    def _call(
        self, shape: CallShape, kind: CallKind, name: str
    ) -> Generator[None, _Fed, _Gone | None]:
        """One call from its arguments on; what it was followed by."""
        index, self._calls = self._calls, self._calls + 1
        self._log.add(CallStarted(index, name, kind))
        if kind == "custom":
            yield from self._input(shape, self._tools[name], index)
            return None
        json = JsonObject()
        fed = _Fed("{", 0)
        while fed.item is not None:
            if isinstance(fed.item, str):
                self._log.add(CallArguments(index, fed.item))
                if json.ends_with(fed.item):
                    self._log.add(CallEnded(index, complete=True))
                    return (yield from self._match(self._after_arguments(shape)))
            fed = yield from self._next()
        self._log.add(CallEnded(index, complete=False))
        return None

    def _input(self, shape: CallShape, tool: Tool, index: int) -> Generator[None, _Fed, None]:
        free = isinstance(tool, CustomTool) and tool.lark is None
        end = shape.input_end(self._controls, free=free)
        ways = [] if end is None else [self._ending(shape, end)]
        while True:
            fed = yield from self._next()
            if ways and fed.item == ways[0].sought[0]:
                self._again.appendleft(fed)
                if (yield from self._match(ways)):
                    self._log.add(CallEnded(index, complete=True))
                    return
                fed = yield from self._next()
            if fed.item is None:
                self._log.add(CallEnded(index, complete=self._turn_ended))
                return
            if isinstance(fed.item, str):
                self._log.add(CallArguments(index, fed.item))

    def _ending(self, shape: CallShape, end: str | Marker) -> _Way:
        sought = steps((end,), self._controls, exact=True)
        return _Way(shape, sought, None, settled=len(sought))
