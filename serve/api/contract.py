"""The contract as data: what the server does with each field of a request.

One row for each field of `schema.ChatRequest`, in its order. The field table of `docs/api.md`
and the descriptions in the OpenAPI document are made from these rows.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["honoured", "later", "extension, later"]


@dataclass(frozen=True, slots=True)
class Row:
    """One field.

    Attributes:
        field: its name.
        state: `honoured`; `later`: not built, refused with `unsupported_parameter` unless
            null or neutral; an extension is a field that the API's original does not have.
        allowed: the values that are accepted.
        summary: what the field does.
        test: the test that shows its effect, `file::function`, below `tests/serve/api`.
    """

    field: str
    state: State
    allowed: str
    summary: str
    test: str


_LATER = "test_later_fields.py::test_is_refused_unless_neutral"


def _later(field: str, summary: str, neutral: str = "") -> Row:
    return Row(field, "later", f"null{neutral and ' or ' + neutral}", summary, _LATER)


def _extension(field: str, summary: str, neutral: str) -> Row:
    return Row(field, "extension, later", f"null or {neutral}", summary, _LATER)


CONTRACT: tuple[Row, ...] = (
    Row(
        "messages",
        "honoured",
        "1 or more messages",
        "The conversation. Roles `developer`, `system`, `user`, `assistant`, `tool` and "
        "`function`; content is a string or an array of text parts, which are joined. "
        "`developer` is `system` where the model's template knows only that. `name`, "
        "`tool_calls`, `function_call` and `tool_call_id` reach the template; a refusal of the "
        "assistant is rendered as its text. A `tool` message must answer a call before it.",
        "test_prompt.py::test_messages_reach_the_template",
    ),
    Row(
        "model",
        "honoured",
        "the served model or an alias",
        "Which model answers. Any other name is answered with 404 `model_not_found`.",
        "test_models.py::test_unserved_model_is_404",
    ),
    Row(
        "temperature",
        "honoured",
        "0 to 2; default 1",
        "Divides the logits before the draw. 0 takes the likeliest token, the lowest id of equals.",
        "test_sampling_fields.py::test_reaches_the_engine",
    ),
    Row(
        "top_p",
        "honoured",
        "0 to 1; default 1",
        "Draws from the smallest set of likeliest tokens whose mass reaches `top_p`, the token "
        "that crosses it included. 0 keeps one.",
        "test_sampling_fields.py::test_reaches_the_engine",
    ),
    _later("frequency_penalty", "Lowers a token's logit with each time it was sampled.", "0"),
    _later("presence_penalty", "Lowers the logits of tokens that were sampled.", "0"),
    _later("logit_bias", "Added to the logits of given tokens.", "{}"),
    _later("logprobs", "Log-probabilities of the answer's tokens.", "false"),
    _later("top_logprobs", "How many alternatives to list with each token."),
    Row(
        "max_completion_tokens",
        "honoured",
        "1 or more; default: what the context leaves",
        "An upper bound on the tokens of each choice; `finish_reason` is `length` where it was "
        "reached. A larger one than the context leaves is lowered to that.",
        "test_sampling_fields.py::test_token_bound",
    ),
    Row(
        "max_tokens",
        "honoured",
        "1 or more",
        "The older name of `max_completion_tokens`. Both may be sent if they are equal.",
        "test_sampling_fields.py::test_token_bound",
    ),
    Row(
        "n",
        "honoured",
        "1 to 128, or what the server's --max-choices allows; default 1",
        "How many choices to generate. The prompt is computed once for all of them.",
        "test_plain.py::test_each_choice_has_its_own_text",
    ),
    Row(
        "seed",
        "honoured",
        "a 64-bit integer; default: a fresh one for each request",
        "The same request with the same seed and `system_fingerprint` draws the same tokens. "
        "Choice i draws with a key of (seed, i).",
        "test_sampling_fields.py::test_reaches_the_engine",
    ),
    Row(
        "stop",
        "honoured",
        "a string, or 1 to 4 strings; none empty",
        "The answer ends before the first of these strings, wherever tokens begin and end.",
        "test_plain.py::test_stop_string_ends_the_choice",
    ),
    Row(
        "stream",
        "honoured",
        "true or false; default false",
        "Send the answer as server-sent events while it is generated.",
        "test_stream.py::test_shape_of_a_stream",
    ),
    Row(
        "stream_options",
        "honoured",
        "an object, with `stream: true` only",
        "`include_usage` (default false): a last chunk with the usage, `usage: null` on the "
        "others. `include_obfuscation` (default true): a random string on each chunk of a "
        "choice that evens out the sizes of chunks.",
        "test_stream.py::test_usage_chunk",
    ),
    Row(
        "user",
        "honoured",
        "up to 64 characters",
        "Who asks, for the server's log and metrics, where it appears as a hash.",
        "test_access_log.py::test_caller_is_hashed",
    ),
    Row(
        "safety_identifier",
        "honoured",
        "up to 64 characters",
        "The newer name of `user`; wins if both are sent.",
        "test_access_log.py::test_caller_is_hashed",
    ),
    Row(
        "metadata",
        "honoured",
        "up to 16 pairs; keys to 64 characters, values strings to 512",
        "Written to the server's log with the request.",
        "test_access_log.py::test_metadata_is_logged",
    ),
    Row(
        "modalities",
        "honoured",
        '["text"]',
        "Text is what there is; `audio` is refused with `unsupported_parameter`.",
        "test_malformed.py::test_is_refused",
    ),
    Row(
        "response_format",
        "honoured",
        '{"type": "text"}',
        "Plain text; `json_object` and `json_schema` are refused with `unsupported_parameter`.",
        "test_malformed.py::test_is_refused",
    ),
    _later("tools", "Tools that the model may call."),
    _later("tool_choice", "Which tool the model calls.", '"none"'),
    _later("parallel_tool_calls", "Whether several tools may be called at once."),
    _later("functions", "The older form of `tools`."),
    _later("function_call", "The older form of `tool_choice`.", '"none"'),
    _later("prediction", "Content that the answer is expected to have."),
    _later("prompt_cache_key", "Groups requests that share a prompt's beginning."),
    _later("prompt_cache_retention", "How long a prompt's cache is kept."),
    _later("reasoning_effort", "How much the model reasons."),
    _later("verbosity", "How long-winded the answer is."),
    Row(
        "service_tier",
        "honoured",
        '"auto" or "default"',
        "Echoed in the response; other tiers are refused with `unsupported_parameter`.",
        "test_plain.py::test_service_tier_is_echoed",
    ),
    _later("store", "Keep the completion.", "false"),
    _later("audio", "Audio output."),
    _later("web_search_options", "Search the web for the answer."),
    _extension("top_k", "Draw from the k likeliest tokens only.", "0"),
    _extension("min_p", "Draw from tokens of at least this share of the likeliest's.", "0"),
    _extension("min_tokens", "Do not end before so many tokens.", "0"),
    _extension("ignore_eos", "Do not end on the end-of-turn token.", "false"),
)


def field_table() -> str:
    """The contract as a Markdown table."""
    lines = ["| field | state | accepted | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{row.field}` | {row.state} | {row.allowed} | {row.summary} |" for row in CONTRACT
    ]
    return "\n".join(lines) + "\n"
