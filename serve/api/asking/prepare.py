"""A request's body to what the engine is asked for, from step to step.

Owns the order of the steps, and so which fault is told where there are several. Knows nothing of
HTTP beyond the body, nor of how generation goes on.
"""

import asyncio
from dataclasses import dataclass, replace

from pydantic import ValidationError

from serve.api.asking.answer_schema import AnswerSchema, answer_schema
from serve.api.asking.asked_tools import AskedTools, asked_tools
from serve.api.asking.bounds import check_choices, token_bound
from serve.api.asking.constraint import Constraints, check_sizes
from serve.api.asking.conversation import ConversationRenderer
from serve.api.asking.json_body import parse_object
from serve.api.asking.model_name import check_model
from serve.api.asking.sampling_fields import check_bias, sampling_params
from serve.api.asking.validation import first_fault
from serve.api.settings import ApiSettings
from serve.api.wire.request import ChatRequest
from serve.engine.types import EngineInfo, GenerationRequest


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid request, and what it asks of the engine.

    Attributes:
        wire: the request as it was sent.
        submission: what the engine is to do.
        answer_schema: what each answer must be, if not just text.
        tools: what may be called, if anything.
    """

    wire: ChatRequest
    submission: GenerationRequest
    answer_schema: AnswerSchema | None
    tools: AskedTools | None


class Preparer:
    """Prepares requests for one model.

    Args:
        conversations: renders prompts.
        constraints: compiles what answers must follow.
        info: facts about the model.
        end_ids: the ids that end the assistant's turn.
        settings: of the HTTP side.
    """

    def __init__(
        self,
        conversations: ConversationRenderer,
        constraints: Constraints,
        info: EngineInfo,
        end_ids: frozenset[int],
        settings: ApiSettings,
    ) -> None:
        self._conversations = conversations
        self._constraints = constraints
        self._info = info
        self._end_ids = end_ids
        self._settings = settings

    async def prepare(self, body: bytes, completion_id: str) -> Prepared:
        """The request in `body`, ready for the engine under the name `completion_id`.

        Raises:
            ApiError: 400 or 404; the first thing that is wrong with it.
        """
        if len(body) > self._settings.thread_body_bytes:
            prepared = await asyncio.to_thread(self._unconstrained, body, completion_id)
        else:
            prepared = self._unconstrained(body, completion_id)
        constraint = await self._constraints.compiled(prepared.answer_schema, prepared.tools)
        return replace(prepared, submission=replace(prepared.submission, constraint=constraint))

    def _unconstrained(self, body: bytes, completion_id: str) -> Prepared:
        """All but the constraint. May run on any thread."""
        fields = parse_object(body, self._settings.max_json_depth)
        try:
            wire = ChatRequest.model_validate(fields)
        except ValidationError as error:
            raise first_fault(error) from error
        vocab_size = self._info.vocab_size
        check_model(wire.model, self._settings)
        check_choices(wire, self._settings.max_choices, self._info.most_choices)
        check_bias(wire, vocab_size, self._end_ids)
        schema, tools = answer_schema(wire.response_format), asked_tools(wire)
        check_sizes(schema, tools, self._settings.max_grammar_bytes)
        prompt = self._conversations.prompt(wire.messages, schema, tools)
        submission = GenerationRequest(
            id=completion_id,
            prompt=prompt,
            max_tokens=token_bound(wire, len(prompt), self._info.context_length),
            sampling=sampling_params(wire, vocab_size),
            choices=wire.choices,
            end_ids=self._end_ids,
        )
        return Prepared(wire, submission, schema, tools)
