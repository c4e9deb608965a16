"""A generation's events to the text of its choices. Knows nothing of HTTP or of JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from model.tokenizer import Tokenizer
from serve.api.answering.usage import Completion
from serve.engine.types import Generation, TokenEvent
from serve.text.assemble import Assembler, CallEvent, Delta, Finish
from serve.text.calls.events import Parser
from serve.text.verdict import Judge, Verdict


@dataclass(frozen=True, slots=True)
class ChoiceDelta:
    """What one batch of events adds to one choice.

    Attributes:
        index: of the choice.
        text: to append; may be empty.
        events: the tokens that the text came from.
        finish_reason: set when the choice has ended with this delta.
        calls: what is new of calls of tools, after the text.
        refused: the text is of a refusal.
        verdict: set when the choice has ended for what it would have said.
        thoughts: what the model thought, before the text.
    """

    index: int
    text: str
    events: tuple[TokenEvent, ...]
    finish_reason: Finish | None
    calls: tuple[CallEvent, ...] = ()
    refused: bool = False
    verdict: Verdict | None = None
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How thoughts and calls are found in the choices of a request.

    Attributes:
        parser: makes a parser for one choice; None where all is text.
        markers: id → spelling of the control tokens that parsers are told of.
    """

    parser: Callable[[], Parser | None] | None = None
    markers: Mapping[int, str] = field(default_factory=dict[int, str])


class Answer:
    """The choices of one request while they are generated.

    A choice that a stop string or a judge ends is cancelled in the engine at once.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: Sequence[str],
        choices: int,
        generation: Generation,
        reading: Reading,
        *,
        stop_included: bool = False,
        judge: Callable[[], Judge | None] | None = None,
        thought_judge: Callable[[], Judge | None] | None = None,
    ) -> None:
        self._assemblers = [
            Assembler[TokenEvent](
                tokenizer,
                stops,
                reading.parser and reading.parser(),
                reading.markers,
                stop_included=stop_included,
                judge=judge and judge(),
                thought_judge=thought_judge and thought_judge(),
            )
            for _ in range(choices)
        ]
        self._open = choices
        self._mispredicted = 0
        self._generation = generation

    def feed(self, batch: Sequence[TokenEvent]) -> list[ChoiceDelta]:
        """What one step's events add, at most one delta for each choice."""
        changed: dict[int, list[Delta[TokenEvent]]] = {}
        for event in batch:
            assembler = self._assemblers[event.choice]
            if assembler.finish_reason is None:
                self._mispredicted += event.mispredicted
            deltas = assembler.feed(event)
            if deltas:
                changed.setdefault(event.choice, []).extend(deltas)
            if event.finish_reason is None and deltas and deltas[-1].finish_reason is not None:
                self._generation.cancel(event.choice)
        found = [merged(index, deltas) for index, deltas in changed.items()]
        self._open -= sum(delta.finish_reason is not None for delta in found)
        return found

    def end(self, index: int) -> None:
        """Nothing more is wanted of a choice, whatever it would say."""
        assembler = self._assemblers[index]
        if assembler.finish_reason is None:
            assembler.finish_reason = "content_filter"
            self._open -= 1
            self._generation.cancel(index)

    @property
    def finished(self) -> bool:
        """Whether every choice has ended."""
        return self._open == 0

    @property
    def completion(self) -> Completion:
        """What there is so far, over all choices."""
        return Completion(
            kept=sum(assembler.tokens_kept for assembler in self._assemblers),
            predicted=sum(assembler.predicted_kept for assembler in self._assemblers),
            mispredicted=self._mispredicted,
            reasoning=sum(assembler.reasoning_kept for assembler in self._assemblers),
        )


def merged(index: int, deltas: Sequence[Delta[TokenEvent] | ChoiceDelta]) -> ChoiceDelta:
    """Several deltas of the choice number `index` as one."""
    last = deltas[-1]
    return ChoiceDelta(
        index,
        "".join(delta.text for delta in deltas),
        tuple(event for delta in deltas for event in delta.events),
        last.finish_reason,
        tuple(event for delta in deltas for event in delta.calls),
        last.refused,
        last.verdict,
        "".join(delta.thoughts for delta in deltas),
    )
