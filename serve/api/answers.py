"""The shapes of responses, for the OpenAPI document and for the tests.

Responses are written by `respond.py`, which does not go through these models on each token;
the tests hold what it writes against them.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Error(_Answer):
    """What went wrong. All four members are always there."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str | None


class ErrorBody(_Answer):
    """Every answer other than success."""

    error: Error


class PromptTokensDetails(_Answer):
    """Of the prompt's tokens."""

    audio_tokens: int
    cached_tokens: int


class CompletionTokensDetails(_Answer):
    """Of the answer's tokens."""

    accepted_prediction_tokens: int
    audio_tokens: int
    reasoning_tokens: int
    rejected_prediction_tokens: int


class Usage(_Answer):
    """Tokens of the prompt and of all choices; end-of-turn tokens are not counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class AnswerMessage(_Answer):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    refusal: None
    annotations: list[object]


class TopLogprob(_Answer):
    """One of the likeliest tokens at a position."""

    token: str
    bytes: list[int] | None
    logprob: float


class TokenLogprob(_Answer):
    """A sampled token; its `logprob` is -9999.0 if it is not among the 20 likeliest."""

    token: str
    bytes: list[int] | None
    logprob: float
    top_logprobs: list[TopLogprob]


class Logprobs(_Answer):
    """The tokens of an answer, or those that a chunk completes."""

    content: list[TokenLogprob]
    refusal: None


class Choice(_Answer):
    """One of the answers that were asked for."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(_Answer):
    """The answer to a request without `stream`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    service_tier: Literal["auto", "default"] | None = None
    choices: list[Choice]
    usage: Usage


class ChunkDelta(_Answer):
    """What a chunk adds to a choice's message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: None = None


class ChunkChoice(_Answer):
    """The choice that a chunk belongs to."""

    index: int
    delta: ChunkDelta
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class ChatCompletionChunk(_Answer):
    """The data of one server-sent event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    service_tier: Literal["auto", "default"] | None = None
    choices: list[ChunkChoice]
    usage: Usage | None = None
    obfuscation: str | None = None


class ModelObject(_Answer):
    """A name under which the model is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Answer):
    """All names under which the model is served."""

    object: Literal["list"]
    data: list[ModelObject]


class Health(_Answer):
    """How the server is."""

    status: str
    model: str
    running: int
    waiting: int
