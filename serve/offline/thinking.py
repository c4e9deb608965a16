"""What models in this process think: asked for, bounded and read as a request's is.

Knows nothing of the engine.
"""

from collections.abc import Sequence
from functools import cached_property

from sampling.params import SamplingParams
from serve.api.asking.conversation import Ending
from serve.api.asking.reasoning import AskedThoughts, Effort, asked_effort, begun
from serve.api.asking.sampling_fields import without_token
from serve.api.wire.errors import ApiError
from serve.engine.types import Constraint
from serve.grammar.after_thoughts import ThoughtMarkers, held_after_thoughts
from serve.text.calls.detect import detect as detect_calls
from serve.text.calls.events import Parser
from serve.text.render import Renderer
from serve.text.thoughts.detect import detect
from serve.text.thoughts.reading import answer_parser
from serve.thought_fields import REASONING_BUDGETS


class Thinking:
    """Thoughts of one model.

    Args:
        renderer: makes its prompts.
        vocab_size: logits that the model has.
        end_ids: ids that end a turn.
    """

    def __init__(self, renderer: Renderer, vocab_size: int, end_ids: frozenset[int]) -> None:
        self._renderer = renderer
        self._vocabulary = vocab_size, end_ids
        source = renderer.template.source
        self._format, self._calls = detect(source), detect_calls(source)

    def effort(self, level: str | None) -> Effort:
        """What a level of effort comes to.

        Raises:
            ValueError: the model has no way to honour it, or it is none.
        """
        known = self._renderer.template.variables
        if level not in (None, "none", *REASONING_BUDGETS):
            levels = ", ".join(("none", *REASONING_BUDGETS))
            raise ValueError(f"reasoning_effort is {level!r}; it must be one of {levels}")
        if level == "none" and self._format is not None and self._format.in_channels:
            raise ValueError("reasoning_effort: with gpt-oss none is for a server only")
        try:
            return asked_effort(level, {}, self._format, known, REASONING_BUDGETS)
        except ApiError as error:
            raise ValueError(error.message) from error

    def begun(self, prompt: list[int], effort: Effort) -> tuple[list[int], AskedThoughts]:
        """A conversation's prompt, as it has to end; and where its answers stand then."""
        ending = Ending(variables=effort.variables)
        return begun(prompt, self._format, effort, ending, self._renderer)

    def params(self, params: SamplingParams, asked: AskedThoughts) -> SamplingParams:
        """Settings under which nothing is thought, if that is asked.

        Raises:
            ValueError: they bias as many tokens as can be already.
        """
        opening = None if self._format is None else self._format.opening
        token = self._renderer.tokenizer.controls.get(opening or "")
        if token is None or not asked.none:
            return params
        try:
            return without_token(params, token)
        except ApiError as error:
            raise ValueError(error.message) from error

    def constraint(
        self, asked: AskedThoughts | None, inner: Constraint | None
    ) -> Constraint | None:
        """What holds answers to `inner` once the model has thought, within its budget.

        Args:
            asked: of them; None where a string is gone on with.
            inner: what they must be, if anything.
        """
        if asked is None:
            return inner
        return held_after_thoughts(self._markers, asked.beginning, asked.budget, inner)

    def parsers(
        self, asked: AskedThoughts | None, count: int, *, of_form: bool
    ) -> Sequence[Parser | None]:
        """What tells thoughts from so many answers.

        Args:
            asked: of them; None where a string is gone on with.
            count: of answers.
            of_form: whether they have a form, which leaves no place for channels.
        """
        framed = self._format is not None and self._format.in_channels
        if asked is None or (of_form and framed):
            return [None] * count
        controls = self._renderer.tokenizer.controls
        return [
            answer_parser(self._format, self._calls, None, controls, asked.beginning)
            for _ in range(count)
        ]

    @cached_property
    def _markers(self) -> ThoughtMarkers | None:
        if self._format is None or self._format.in_channels:
            return None
        tokenizer = self._renderer.tokenizer
        spellings = self._format.opening, self._format.closing
        return ThoughtMarkers(tokenizer, *self._vocabulary, *spellings)
