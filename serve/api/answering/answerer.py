"""Begins answers: puts together what one completion needs, for one model.

The two ways to tell an answer are `whole.py` and `stream.py`.
"""

import time
from collections.abc import Sequence
from functools import partial

from model.tokenizer import Tokenizer
from serve.api.answering.annotations import Cited
from serve.api.answering.calls import CallLog
from serve.api.answering.choices import Answer, Reading
from serve.api.answering.head import Head
from serve.api.answering.logprobs import EntryWriter
from serve.api.answering.moderated import Moderated
from serve.api.answering.prompt_logprobs import PromptWriter
from serve.api.answering.run import Run
from serve.api.answering.spoken import SpeakingSettings, Spoken
from serve.api.answering.token_clock import TokenClock
from serve.api.exchange import Exchange
from serve.api.settings import ApiSettings
from serve.api.wire.request import ChatRequest
from serve.api.wire.web_search import CitedSource
from serve.engine.types import Generation, Tier
from serve.filter.content_filter import ContentFilter
from serve.filter.moderation import Moderation
from serve.metrics import Metrics
from serve.text.calls.format import CallFormat
from serve.text.calls.tools import Tool
from serve.text.thoughts.format import Beginning, ThoughtFormat
from serve.text.thoughts.reading import answer_parser


class Answerer:
    """Begins the answers of one model.

    Args:
        settings: of the HTTP side.
        fingerprint: of all that can change the numbers.
        tokenizer: turns sampled ids into bytes.
        call_format: how the model writes calls of tools.
        thoughts: how it marks its thoughts, if it has any.
        metrics: told of tokens and their times.
        content_filter: what no answer may say; None for anything.
        moderation: judges answers before they are told; None for nobody.
        speaking: how answers are spoken; None where no request may ask for it.
    """

    def __init__(
        self,
        settings: ApiSettings,
        fingerprint: str,
        tokenizer: Tokenizer,
        call_format: CallFormat,
        thoughts: ThoughtFormat | None,
        metrics: Metrics,
        content_filter: ContentFilter | None = None,
        moderation: Moderation | None = None,
        speaking: SpeakingSettings | None = None,
    ) -> None:
        self._settings = settings
        self._fingerprint = fingerprint
        self._tokenizer = tokenizer
        self._call_format = call_format
        self._thoughts = thoughts
        self._metrics = metrics
        self._judge = content_filter and content_filter.judge
        self._moderation = moderation
        self._speaking = speaking
        self._markers = {token: spelling for spelling, token in tokenizer.controls.items()}
        self._writer = EntryWriter(tokenizer)
        self._prompt_writer = PromptWriter(tokenizer)

    def begin(
        self,
        completion_id: str,
        wire: ChatRequest,
        prompt_tokens: int,
        callable_tools: Sequence[Tool] | None,
        beginning: Beginning,
        generation: Generation,
        exchange: Exchange,
        tier: Tier,
        *,
        owner: str = "",
        may_refuse: bool = False,
        sources: Sequence[CitedSource] = (),
    ) -> Run:
        """The answer to a request that the engine has taken.

        Args:
            completion_id: its name.
            wire: the request.
            prompt_tokens: of its prompt.
            callable_tools: those that may be called; None where the request has no tools.
            beginning: where its choices stand when the model begins.
            generation: the engine's events.
            exchange: ends the run with the request.
            tier: the one that the request got.
            owner: who may name what is spoken later.
            may_refuse: whether choices may be refusals.
            sources: that choices may cite.
        """
        head = Head(
            id=completion_id,
            created=int(time.time()),
            model=self._settings.told_name(wire.model),
            fingerprint=self._fingerprint,
            service_tier=wire.service_tier and tier.label,
        )
        reading = self._reading(callable_tools, beginning, may_refuse=may_refuse)
        legacy = wire.functions is not None
        answer = Answer(
            self._tokenizer,
            wire.stops,
            wire.choices,
            generation,
            reading,
            stop_included=bool(wire.include_stop_str_in_output),
            judge=self._judge,
            thought_judge=self._judge if self._settings.show_reasoning else None,
        )
        return Run(
            wire=wire,
            prompt_tokens=prompt_tokens,
            may_lack_content=bool(callable_tools) or may_refuse or wire.speaks,
            shows_thoughts=self._settings.show_reasoning,
            head=head,
            generation=generation,
            answer=answer,
            exchange=exchange,
            clock=TokenClock(self._metrics, exchange.started, tier.label),
            writer=self._writer,
            prompt_writer=self._prompt_writer,
            calls=[CallLog(legacy=legacy) for _ in range(wire.choices)],
            on_filtered=partial(self._metrics.count_filtered, "output"),
            moderated=self._moderated(answer, wire.choices),
            cited=[Cited(sources) for _ in range(wire.choices)] if sources else (),
            spoken=self._spoken(wire, owner),
        )

    def _spoken(self, wire: ChatRequest, owner: str) -> Spoken | None:
        if wire.audio is None or self._speaking is None:
            return None
        whole = not wire.stream or bool(wire.store)
        return Spoken(self._speaking, wire.audio, owner, whole=whole)

    def _moderated(self, answer: Answer, choices: int) -> Moderated | None:
        if self._moderation is None:
            return None
        retry_after = self._settings.retry_after_seconds
        shows_thoughts = self._settings.show_reasoning
        return Moderated(
            answer, self._moderation, choices, retry_after, shows_thoughts=shows_thoughts
        )

    def _reading(
        self, tools: Sequence[Tool] | None, beginning: Beginning, *, may_refuse: bool
    ) -> Reading:
        if tools is None and self._thoughts is None and not may_refuse:
            return Reading()
        controls = self._tokenizer.controls
        given = (self._thoughts, self._call_format, tools, controls, beginning)
        return Reading(partial(answer_parser, *given, may_refuse=may_refuse), self._markers)
