"""A request body to what the engine is asked for. Pure and synchronous; may run on any thread.

Knows nothing of HTTP beyond the body, nor of how generation goes on.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from sampling.params import BAN, SEED_BITS, SamplingParams
from serve.api.errors import ApiError, invalid
from serve.api.faults import echo, first_fault
from serve.api.json_body import parse_object
from serve.api.messages import template_messages
from serve.api.response_format import AnswerSchema, answer_schema
from serve.api.schema import ChatRequest
from serve.api.settings import ApiSettings
from serve.api.tool_grammar import check_sizes
from serve.api.tool_request import AskedTools, asked_tools, is_of_calls
from serve.engine.types import EngineInfo
from serve.grammar.schema import SchemaError, check_schema_size
from serve.text.calls.format import CallFormat
from serve.text.calls.history import with_system, with_system_of_user
from serve.text.render import Renderer
from serve.text.template import ConversationError


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid request and its prompt.

    Attributes:
        wire: the request as it was sent.
        prompt: token ids.
        sampling: the settings of the draw; without a seed, with a fresh one.
        max_tokens: the bound, clamped to what the context leaves.
        answer_schema: what each answer must be, if not just text.
        tools: what may be called, if anything.
    """

    wire: ChatRequest
    prompt: list[int]
    sampling: SamplingParams
    max_tokens: int
    answer_schema: AnswerSchema | None
    tools: AskedTools | None

    @property
    def constrained_by(self) -> str:
        """The field that says what answers must be, if there is one."""
        if self.tools is None:
            return "response_format"
        return "functions" if self.tools.legacy else "tools"

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.wire.n or 1


class Preparer:
    """Validates, renders and bounds requests for one model."""

    def __init__(
        self,
        renderer: Renderer,
        info: EngineInfo,
        end_ids: frozenset[int],
        settings: ApiSettings,
        call_format: CallFormat,
    ) -> None:
        self._call_format = call_format
        self._renderer = renderer
        self._info = info
        self._end_ids = end_ids
        self._settings = settings

    def prepare(self, body: bytes) -> Prepared:
        """The request in `body`, ready for the engine.

        Raises:
            ApiError: 400 or 404; the first thing that is wrong with it.
        """
        fields = parse_object(body, self._settings.max_json_depth)
        try:
            wire = ChatRequest.model_validate(fields)
        except ValidationError as error:
            raise first_fault(error) from error
        self._check_model(wire.model)
        most = self._settings.max_choices
        if (wire.n or 1) > most:
            raise invalid(
                "integer_above_max_value",
                f"Invalid 'n': integer above maximum value. Expected a value <= {most}, but got "
                f"{wire.n} instead.",
                "n",
            )
        self._check_bias(wire)
        schema = answer_schema(wire.response_format)
        tools = asked_tools(wire)
        self._check_sizes(schema, tools)
        try:
            prompt = self._render(template_messages(wire.messages), schema, tools)
        except ConversationError as error:
            raise invalid("invalid_value", str(error), "messages") from error
        bound = self._bound(wire, len(prompt))
        return Prepared(wire, prompt, self._sampling(wire), bound, schema, tools)

    def _render(
        self,
        messages: Sequence[Mapping[str, object]],
        schema: AnswerSchema | None,
        tools: AskedTools | None,
    ) -> list[int]:
        told = messages
        if schema is not None and self._settings.schema_in_prompt:
            told = with_system(messages, schema.instructions)
        shown, own = None, {}
        if tools is not None or is_of_calls(messages):
            fitted = self._call_format.for_template(told, () if tools is None else tools.tools)
            told, shown, own = fitted.messages, fitted.tools, fitted.own
        try:
            return self._renderer.render(told, shown, own=own)
        except ConversationError:
            if told[0]["role"] == messages[0]["role"]:
                raise
            # The system part is not the request's: the template may know none.
            return self._renderer.render(with_system_of_user(told), shown, own=own)

    def _sampling(self, wire: ChatRequest) -> SamplingParams:
        top_k = wire.top_k or 0
        return SamplingParams(
            temperature=1.0 if wire.temperature is None else float(wire.temperature),
            top_p=1.0 if wire.top_p is None else float(wire.top_p),
            seed=secrets.randbits(SEED_BITS) if wire.seed is None else wire.seed,
            logit_bias=tuple((wire.logit_bias or {}).items()),
            frequency_penalty=float(wire.frequency_penalty or 0),
            presence_penalty=float(wire.presence_penalty or 0),
            # A bound that keeps the whole vocabulary is no bound, and costs nothing so.
            top_k=top_k if top_k < self._info.vocab_size else 0,
            min_p=float(wire.min_p or 0),
            min_tokens=wire.min_tokens or 0,
            ignore_eos=bool(wire.ignore_eos),
            logprobs=bool(wire.logprobs),
        )

    def _check_bias(self, wire: ChatRequest) -> None:
        bias, size = wire.logit_bias or {}, self._info.vocab_size
        for token in bias:
            if token >= size:
                raise invalid(
                    "invalid_value",
                    f"Invalid 'logit_bias': {token} is no token of this model. Ids are 0 to "
                    f"{size - 1}.",
                    f"logit_bias.{token}",
                )
        banned = {token for token, value in bias.items() if value <= BAN}
        if wire.ignore_eos or wire.min_tokens:
            banned |= self._end_ids
        if len(banned) >= size:
            raise invalid(
                "invalid_value",
                "Invalid 'logit_bias': it bans every token that could be sampled. Leave at least "
                "one above -100; 'ignore_eos' and 'min_tokens' ban the end-of-turn tokens.",
                "logit_bias",
            )

    def _check_sizes(self, schema: AnswerSchema | None, tools: AskedTools | None) -> None:
        """Before they are rendered: the rest is for the compiler to say."""
        most = self._settings.max_grammar_bytes
        if schema is not None:
            try:
                check_schema_size(schema.schema, most)
            except SchemaError as error:
                raise schema.refused(error) from error
        if tools is not None:
            check_sizes(tools, most)

    def _check_model(self, name: str) -> None:
        if name not in self._settings.served_names:
            raise ApiError(
                404,
                f"The model {echo(name)} does not exist. This server has "
                f"'{self._settings.model_id}'; see /v1/models.",
                code="model_not_found",
                param="model",
            )

    def _bound(self, wire: ChatRequest, prompt_length: int) -> int:
        limit = self._info.context_length
        if prompt_length >= limit:
            raise invalid(
                "context_length_exceeded",
                f"This model's maximum context length is {limit} tokens. However, your messages "
                f"resulted in {prompt_length} tokens. Input tokens exceed the configured limit "
                f"of {limit} tokens, which must also hold the answer. Please reduce the length "
                f"of the messages.",
                "messages",
            )
        room = limit - prompt_length
        bound = min(wire.max_completion_tokens or wire.max_tokens or room, room)
        if (wire.min_tokens or 0) > bound:
            raise invalid(
                "invalid_value",
                f"Invalid 'min_tokens': it is {wire.min_tokens}, but this answer has at most "
                f"{bound} tokens, for which 'max_completion_tokens', or what the messages leave "
                f"of the context, is the bound.",
                "min_tokens",
            )
        return bound
