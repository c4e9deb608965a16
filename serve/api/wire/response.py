"""The shapes of responses, for the OpenAPI document and for the tests.

Responses are written by `serve.api.answering`, which does not go through these models on each
token; the tests hold what it writes against them.
"""

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict

from serve.api.wire.errors import ErrorType

Finish = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Error(_Answer):
    """What went wrong. All four members are always there."""

    message: str
    type: ErrorType
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
    """Of the answers' tokens, and those of a prediction that are in no answer: rejected."""

    accepted_prediction_tokens: int
    audio_tokens: int
    reasoning_tokens: int
    rejected_prediction_tokens: int


class Usage(_Answer):
    """Tokens of the prompt and of all choices, rejected ones of a prediction among them.

    End-of-turn tokens are not counted.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class CalledFunction(_Answer):
    """A function and its arguments, JSON text of an object unless it was cut off."""

    name: str
    arguments: str


class CalledCustom(_Answer):
    """A custom tool and its input."""

    name: str
    input: str


class FunctionCall(_Answer):
    """A call of a function tool."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class CustomCall(_Answer):
    """A call of a custom tool."""

    id: str
    type: Literal["custom"]
    custom: CalledCustom


class UrlCitation(_Answer):
    """Where `content`, or the transcript, cites a page: from `start_index` to before `end_index`.

    Both in code points.
    """

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(_Answer):
    """Something that is said of a part of the message."""

    type: Literal["url_citation"]
    url_citation: UrlCitation


class Audio(_Answer):
    """A spoken answer: the file in base64, and what it says.

    Until `expires_at`, in seconds since 1970, a later turn may name it by its id.
    """

    id: str
    data: str
    expires_at: int
    transcript: str


class AnswerMessage(_Answer):
    """What the model says. Content is null where tools are called without a word.

    So it is beside a refusal, where all of an answer is filtered, and where it is spoken: then
    `audio` has it, or is null where there are no words to speak.
    With --show-reasoning `reasoning_content` is what it thought, if anything.
    """

    role: Literal["assistant"]
    reasoning_content: str | None = None
    content: str | None
    tool_calls: Annotated[list[FunctionCall | CustomCall], MinLen(1)] | None = None
    function_call: CalledFunction | None = None
    refusal: str | None
    annotations: list[Annotation]
    audio: Audio | None = None


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
    """The tokens of an answer, or those that a chunk completes: of content, or of a refusal."""

    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None


class Choice(_Answer):
    """One of the answers that were asked for."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: Finish


class PromptLogprob(_Answer):
    """A token at a place of the prompt.

    Its rank is its place among the likeliest where it is listed with them, else how many tokens
    are at least as likely.
    """

    logprob: float
    rank: int
    decoded_token: str


class ChatCompletion(_Answer):
    """The answer to a request without `stream`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    service_tier: Literal["default", "flex", "priority"] | None = None
    choices: list[Choice]
    usage: Usage
    prompt_logprobs: Annotated[list[dict[str, PromptLogprob] | None], MinLen(1)] | None = None


class FunctionPiece(_Answer):
    """The name of a function, in the first piece of its call, and more of its arguments."""

    name: str | None = None
    arguments: str


class CustomPiece(_Answer):
    """The name of a custom tool, in the first piece of its call, and more of its input."""

    name: str | None = None
    input: str


class CallPiece(_Answer):
    """A piece of the call number `index`. The first one has its id and its type."""

    index: int
    id: str | None = None
    type: Literal["function", "custom"] | None = None
    function: FunctionPiece | None = None
    custom: CustomPiece | None = None


class AudioPiece(_Answer):
    """More of a spoken answer, of which each piece has the id.

    `transcript` and `data` are to be appended; the end has `expires_at`. The pieces of `data` are
    whole groups of base64: joined they are the base64 of the whole.
    """

    id: str
    transcript: str | None = None
    data: str | None = None
    expires_at: int | None = None


class ChunkDelta(_Answer):
    """What a chunk adds to a choice's message."""

    role: Literal["assistant"] | None = None
    reasoning_content: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[CallPiece], MinLen(1)] | None = None
    function_call: FunctionPiece | None = None
    annotations: Annotated[list[Annotation], MinLen(1)] | None = None
    audio: AudioPiece | None = None


class ChunkChoice(_Answer):
    """The choice that a chunk belongs to."""

    index: int
    delta: ChunkDelta
    logprobs: Logprobs | None
    finish_reason: Finish | None


class ChatCompletionChunk(_Answer):
    """The data of one server-sent event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    service_tier: Literal["default", "flex", "priority"] | None = None
    choices: list[ChunkChoice]
    usage: Usage | None = None
    obfuscation: str | None = None


class ModelObject(_Answer):
    """A name under which the model is served, or one of its adapters.

    `root` is the model's own name, or the adapter's directory; `parent` is the model that an
    adapter changes.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str | None
    sampling_defaults: dict[str, float]
    max_answer_tokens: int | None


class ModelList(_Answer):
    """All names under which the model and its adapters are served."""

    object: Literal["list"]
    data: list[ModelObject]


class Health(_Answer):
    """How the server is."""

    status: str
    model: str
    running: int
    waiting: int
