"""The request of `POST /chat/completions`: every field, its type and range.

What a field means is told in `contract.py`; a test holds the two together.
"""

from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, BeforeValidator, Tag, model_validator

from sampling.params import LEAST_REPETITION_PENALTY, MAX_LOGIT_BIAS, MAX_STOP_IDS
from serve.api.wire.audio import STREAMED_FORMAT, AudioOutput
from serve.api.wire.faults import TAG, fault
from serve.api.wire.guided import (
    BadWords,
    GuidedChoice,
    GuidedJson,
    GuidedText,
    StructuredOutputs,
    check_one_form,
)
from serve.api.wire.messages import (
    MOST_MESSAGES,
    Message,
    check_continued,
    check_tool_answers,
)
from serve.api.wire.metadata import Metadata
from serve.api.wire.most import Most
from serve.api.wire.prediction import Prediction
from serve.api.wire.response_format import ResponseFormat
from serve.api.wire.strict import Strict
from serve.api.wire.tools import (
    MOST_TOOLS,
    FunctionCallChoice,
    LegacyFunction,
    ToolChoice,
    ToolDefinition,
    check_functions,
    check_tools,
)
from serve.api.wire.validators import (
    empty_is_none,
    one_of,
    string_or_array,
    to_first_strange_key,
    token_id,
)
from serve.api.wire.web_search import WebSearchOptions

# The highest `n` of the API; `--max-choices` may allow fewer.
MOST_CHOICES = 128
# The highest `top_logprobs` of the API, and `prompt_logprobs` likewise.
MOST_ALTERNATIVES = 20
# The API's own bounds.
MOST_STOPS = 4
# There are two.
MOST_MODALITIES = 2
# The API's own bound.
LONGEST_SAFETY_IDENTIFIER = 64
# The API's own bound.
LONGEST_PROMPT_CACHE_KEY = 64
# The API has none; some clients put a name, an address and more into it.
LONGEST_USER = 1_024
# Each choice holds back that much of its text while it may become the stop string.
LONGEST_STOP = 1_024
# Longer than any name that a model is served under.
LONGEST_MODEL = 1_024

# How much the model thinks, from least to most.
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
# A template has a few.
MOST_TEMPLATE_VARIABLES = 32

# Fields that say what an answer without calls must be; one of them at a time.
_FORMS = (
    *("response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
    "structured_outputs",
)

_Stop = Annotated[str, MinLen(1), MaxLen(LONGEST_STOP)]
_TokenId = Annotated[int, BeforeValidator(token_id)]


def _unbounded(value: object) -> object:
    """-1, as some servers write that there is no bound, as none."""
    return None if type(value) is int and value == -1 else value


_Tokens = Annotated[int, Ge(1)]
_Bound = Annotated[
    _Tokens | None,
    BeforeValidator(_unbounded, json_schema_input_type=_Tokens | Literal[-1] | None),
]


class StreamOptions(Strict):
    """Options of a streamed response."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None

    @property
    def ask(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.include_usage or self.include_obfuscation)


def _each_once(value: list[str]) -> list[str]:
    if len(set(value)) < len(value):
        raise fault("invalid_value", f"'{value[0]}' is there twice: name each modality once.")
    return value


class ChatRequest(Strict):
    """The body of a chat completion request."""

    messages: Annotated[list[Message], MinLen(1), Most(MOST_MESSAGES)]
    model: Annotated[str, MaxLen(LONGEST_MODEL)]
    temperature: Annotated[float, Ge(0), Le(2)] | None = None
    top_p: Annotated[float, Ge(0), Le(1)] | None = None
    frequency_penalty: Annotated[float, Ge(-2), Le(2)] | None = None
    presence_penalty: Annotated[float, Ge(-2), Le(2)] | None = None
    logit_bias: (
        Annotated[
            dict[_TokenId, Annotated[float, Ge(-100), Le(100)]],
            BeforeValidator(to_first_strange_key),
            Most(MAX_LOGIT_BIAS),
        ]
        | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Ge(0), Le(MOST_ALTERNATIVES)] | None = None
    max_completion_tokens: _Bound = None
    max_tokens: _Bound = None
    n: Annotated[int, Ge(1), Le(MOST_CHOICES)] | None = None
    seed: Annotated[int, Ge(-(2**63)), Le(2**64 - 1)] | None = None
    stop: Annotated[
        Annotated[
            Annotated[_Stop, Tag(TAG + "string")]
            | Annotated[list[_Stop], Most(MOST_STOPS), Tag(TAG + "array")],
            *string_or_array("strings"),
        ]
        | None,
        BeforeValidator(empty_is_none),
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, MaxLen(LONGEST_USER)] | None = None
    safety_identifier: Annotated[str, MaxLen(LONGEST_SAFETY_IDENTIFIER)] | None = None
    metadata: Metadata | None = None
    modalities: (
        Annotated[
            list[Literal["text", "audio"]],
            MinLen(1),
            Most(MOST_MODALITIES),
            AfterValidator(_each_once),
        ]
        | None
    ) = None
    response_format: ResponseFormat | None = None
    tools: Annotated[
        Annotated[list[ToolDefinition], Most(MOST_TOOLS)] | None, BeforeValidator(empty_is_none)
    ] = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[
        Annotated[list[LegacyFunction], Most(MOST_TOOLS)] | None, BeforeValidator(empty_is_none)
    ] = None
    function_call: FunctionCallChoice | None = None
    prediction: Prediction | None = None
    prompt_cache_key: Annotated[str, MaxLen(LONGEST_PROMPT_CACHE_KEY)] | None = None
    prompt_cache_retention: (
        Annotated[
            Literal["in_memory", "in-memory", "24h"],
            one_of(["in_memory", "in-memory", "24h"]),
        ]
        | None
    ) = None
    reasoning_effort: Annotated[Effort, one_of(EFFORTS)] | None = None
    verbosity: (
        Annotated[Literal["low", "medium", "high"], one_of(["low", "medium", "high"])] | None
    ) = None
    service_tier: (
        Annotated[
            Literal["auto", "default", "flex", "scale", "priority"],
            one_of(["auto", "default", "flex", "scale", "priority"]),
        ]
        | None
    ) = None
    store: bool | None = None
    audio: AudioOutput | None = None
    web_search_options: WebSearchOptions | None = None
    top_k: Annotated[int, Ge(-1)] | None = None
    min_p: Annotated[float, Ge(0), Le(1)] | None = None
    min_tokens: Annotated[int, Ge(0)] | None = None
    ignore_eos: bool | None = None
    repetition_penalty: Annotated[float, Ge(LEAST_REPETITION_PENALTY), Le(2)] | None = None
    stop_token_ids: Annotated[list[Annotated[int, Ge(0)]], Most(MAX_STOP_IDS)] | None = None
    include_stop_str_in_output: bool | None = None
    guided_json: GuidedJson | None = None
    guided_regex: GuidedText | None = None
    guided_choice: GuidedChoice | None = None
    guided_grammar: GuidedText | None = None
    structured_outputs: StructuredOutputs | None = None
    bad_words: BadWords | None = None
    prompt_logprobs: Annotated[int, Ge(0), Le(MOST_ALTERNATIVES)] | None = None
    chat_template_kwargs: Annotated[dict[str, Any], Most(MOST_TEMPLATE_VARIABLES)] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    @model_validator(mode="after")
    def _fields_agree(self) -> "ChatRequest":
        check_tool_answers(self.messages)
        check_functions(self.functions, self.function_call, with_tools=self.tools is not None)
        check_tools(self.tools, self.tool_choice)
        check_one_form({name: getattr(self, name) for name in _FORMS})
        if self.stream_options is not None and self.stream_options.ask and not self.stream:
            raise fault(
                "invalid_value",
                "The 'stream_options' parameter is only allowed when 'stream' is true.",
                at="stream_options",
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise fault(
                "invalid_value",
                "The 'top_logprobs' parameter is only allowed when 'logprobs' is true.",
                at="top_logprobs",
            )
        if self.prompt_logprobs is not None and self.stream:
            raise fault(
                "invalid_value",
                "The 'prompt_logprobs' parameter is not available when 'stream' is true.",
                at="prompt_logprobs",
            )
        if self.continue_final_message:
            self._can_be_continued()
        self._can_be_spoken()
        bounds = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(bounds) > 1:
            raise fault(
                "invalid_value",
                f"'max_tokens' is {self.max_tokens} and 'max_completion_tokens' is "
                f"{self.max_completion_tokens}: they mean the same, send one of them.",
                at="max_tokens",
            )
        return self

    def _can_be_spoken(self) -> None:
        if self.audio is None and self.speaks:
            raise fault("missing_required_parameter", at="audio")
        if self.audio is not None and not self.speaks:
            raise fault(
                "invalid_value",
                "The 'audio' parameter is only allowed when 'modalities' has 'audio'.",
                at="audio",
            )
        if self.audio is not None and self.stream and self.audio.format != STREAMED_FORMAT:
            raise fault(
                "invalid_value",
                f"With 'stream' the format is '{STREAMED_FORMAT}': what others begin or "
                f"end with is known at the end alone.",
                at="audio.format",
            )

    def _can_be_continued(self) -> None:
        if self.add_generation_prompt:
            raise fault(
                "invalid_value",
                "'continue_final_message' and 'add_generation_prompt' exclude each other: send "
                "one of them as true.",
                at="continue_final_message",
            )
        check_continued(self.messages)
        held = [name for name in (*_FORMS, "tools", "functions") if getattr(self, name) is not None]
        if self.reasoning_effort not in (None, "none"):
            held.append("reasoning_effort")
        if held:
            raise fault(
                "invalid_value",
                f"'{held[0]}' is about an answer from its beginning, which one with "
                f"'continue_final_message' does not have: send one of the two.",
                at=held[0],
            )

    @property
    def speaks(self) -> bool:
        """Whether the answer is to be spoken."""
        return "audio" in (self.modalities or ())

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.n or 1

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, if any."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def alternatives(self) -> int | None:
        """How many of the likeliest tokens to list with each token; None: no log-probabilities."""
        return self.top_logprobs or 0 if self.logprobs else None

    @property
    def caller(self) -> str | None:
        """Who asks, as far as the client says."""
        return self.safety_identifier or self.user

    @property
    def cached_for_days(self) -> bool:
        """Whether what is computed of the prompt is to survive a restart."""
        return self.prompt_cache_retention == "24h"

    @property
    def constrained_by(self) -> str:
        """The field that says what answers must be, if there is one."""
        if self.functions is not None:
            return "functions"
        if self.tools is not None:
            return "tools"
        binding = (*_FORMS, "reasoning_effort")
        return next((name for name in binding if getattr(self, name) is not None), _FORMS[0])
