"""One completion under way: what is known of it, and what each batch of events brings.

Knows nothing of whether it is told at once or as it comes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve.api.answering.calls import CallLog
from serve.api.answering.choices import Answer, ChoiceDelta
from serve.api.answering.head import Head
from serve.api.answering.logprobs import EntryWriter
from serve.api.answering.moderated import Moderated
from serve.api.answering.prompt_logprobs import PromptWriter
from serve.api.answering.token_clock import TokenClock
from serve.api.answering.usage import Usage
from serve.api.exchange import Exchange
from serve.api.wire.request import ChatRequest
from serve.engine.types import Generation, TokenEvent


@dataclass(frozen=True, slots=True)
class Run:
    """The generation and what is made of it.

    Attributes:
        wire: the request.
        prompt_tokens: of its prompt.
        may_lack_content: whether choices may hold calls or a refusal, and then perhaps nothing
            else.
        shows_thoughts: whether clients are told what the model thought.
        head: what all of the answer says alike.
        generation: the engine's events.
        answer: makes text of them.
        exchange: ends the run with the request.
        clock: told of tokens.
        writer: of log-probabilities.
        prompt_writer: of the prompt's.
        calls: of each choice.
        on_filtered: told of the category of what ended a choice.
        moderated: holds back what has not been judged elsewhere, if it is to be.
    """

    wire: ChatRequest
    prompt_tokens: int
    may_lack_content: bool
    shows_thoughts: bool
    head: Head
    generation: Generation
    answer: Answer
    exchange: Exchange
    clock: TokenClock
    writer: EntryWriter
    prompt_writer: PromptWriter
    calls: list[CallLog]
    on_filtered: Callable[[str], None]
    moderated: Moderated | None = None

    async def feed(self, batch: Sequence[TokenEvent]) -> list[ChoiceDelta]:
        """What may be told of the choices with the next batch of events.

        Raises:
            ApiError: 503, nobody judged it.
        """
        deltas = self.answer.feed(batch)
        self.clock.tick(deltas)
        if self.moderated is not None:
            deltas = await self.moderated.passed(deltas)
        for delta in deltas:
            if delta.verdict is not None:
                self.on_filtered(delta.verdict.category)
        self.exchange.completion_tokens = self.answer.completion.tokens
        return deltas

    def check_finished(self) -> None:
        """Raises RuntimeError if the engine has broken its promise to end every choice.

        Or that to tell of the prompt, where it is asked for.
        """
        if not self.answer.finished:
            raise RuntimeError("the engine ended the generation before its choices had ended")
        told = 1 + sum(len(part.tokens) for part in self.generation.prompt_logprobs)
        if self.wire.prompt_logprobs is not None and told != self.prompt_tokens:
            raise RuntimeError(f"the engine told {told} tokens of {self.prompt_tokens} of a prompt")

    def entries(self, delta: ChoiceDelta) -> list[str] | None:
        """The log-probabilities of a delta's tokens as JSON; None where nobody asked."""
        alternatives = self.wire.alternatives
        return None if alternatives is None else self.writer.entries(delta.events, alternatives)

    def reason(self, delta: ChoiceDelta) -> str | None:
        """How a choice has ended, if it has: at the end of its turn with calls, if it made any."""
        if delta.finish_reason != "stop":
            return delta.finish_reason
        return self.calls[delta.index].reason or "stop"

    @property
    def usage(self) -> Usage:
        """Token counts so far."""
        return Usage(
            prompt=self.prompt_tokens,
            completion=self.answer.completion,
            cached=self.generation.cached_tokens,
        )
