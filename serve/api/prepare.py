"""A request body to what the engine is asked for. Pure and synchronous; may run on any thread.

Knows nothing of HTTP beyond the body, nor of how generation goes on.
"""

import secrets
from dataclasses import dataclass

from pydantic import ValidationError

from sampling.params import SEED_BITS, SamplingParams
from serve.api.errors import ApiError, invalid
from serve.api.faults import echo, first_fault
from serve.api.json_body import parse_object
from serve.api.messages import template_messages
from serve.api.schema import ChatRequest
from serve.api.settings import ApiSettings
from serve.text.render import Renderer
from serve.text.template import ConversationError


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid request and its prompt.

    Attributes:
        wire: the request as it was sent.
        prompt: token ids.
        max_tokens: the bound, clamped to what the context leaves.
    """

    wire: ChatRequest
    prompt: list[int]
    max_tokens: int

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.wire.n or 1

    def sampling(self) -> SamplingParams:
        """The settings of the draw; without a seed, a fresh one."""
        wire = self.wire
        return SamplingParams(
            temperature=1.0 if wire.temperature is None else float(wire.temperature),
            top_p=1.0 if wire.top_p is None else float(wire.top_p),
            seed=secrets.randbits(SEED_BITS) if wire.seed is None else wire.seed,
        )


class Preparer:
    """Validates, renders and bounds requests for one model."""

    def __init__(self, renderer: Renderer, context_length: int, settings: ApiSettings) -> None:
        self._renderer = renderer
        self._context_length = context_length
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
        try:
            prompt = self._renderer.render(template_messages(wire.messages))
        except ConversationError as error:
            raise invalid("invalid_value", str(error), "messages") from error
        return Prepared(wire, prompt, self._bound(wire, len(prompt)))

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
        limit = self._context_length
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
        return min(wire.max_completion_tokens or wire.max_tokens or room, room)
