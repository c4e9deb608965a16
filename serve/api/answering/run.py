"""One completion under way: what is known of it, and what each batch of events brings.

Knows nothing of whether it is told at once or as it comes.
"""

from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass

from serve.api.answering.annotations import Cited
from serve.api.answering.calls import CallLog
from serve.api.answering.choices import Answer, ChoiceDelta
from serve.api.answering.head import Head
from serve.api.answering.logprobs import EntryWriter
from serve.api.answering.moderated import Moderated
from serve.api.answering.prompt_logprobs import PromptWriter
from serve.api.answering.spoken import Item, Over, Spoken
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
        cited: of each choice, where there is something to cite.
        spoken: speaks what is told, if it is to be spoken.
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
    cited: Sequence[Cited] = ()
    spoken: Spoken | None = None

    @property
    def source(self) -> AsyncIterable[Item]:
        """The engine's events, in batches, and what is spoken of them."""
        return self.generation if self.spoken is None else self.spoken.source(self.generation)

    def is_last(self, item: Item) -> bool:
        """Whether nothing comes after it that has to be told."""
        if isinstance(item, Over) and not self.answer.finished:
            return True
        return self.answer.finished and (self.spoken is None or self.spoken.finished)

    async def aclose(self) -> None:
        """Nobody wants the rest."""
        self.generation.cancel()
        if self.spoken is not None:
            await self.spoken.aclose()

    async def feed(self, batch: Sequence[TokenEvent] | Over) -> list[ChoiceDelta]:
        """What may be told of the choices with the next batch of events.

        Raises:
            ApiError: 503, nobody judged it.
        """
        if isinstance(batch, Over):
            return []
        deltas = self.answer.feed(batch)
        self.clock.tick(deltas)
        if self.moderated is not None:
            deltas = await self.moderated.passed(deltas)
        for delta in deltas:
            if delta.verdict is not None:
                self.on_filtered(delta.verdict.category)
            if self.cited and not delta.refused:
                self.cited[delta.index].feed(delta.text)
            if self.spoken is not None:
                self.spoken.say(delta)
                if delta.verdict is not None and delta.verdict.blocks and not self.wire.stream:
                    await self.spoken.drop(delta.index)
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

    def annotations(self, index: int) -> list[str]:
        """What a choice that has ended cites, each in JSON."""
        return self.cited[index].annotations() if self.cited else []

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
