"""The table of requests that are wrong, and what each is answered."""

import json
from typing import Any

import pytest

from serve.api.wire.response import ErrorBody

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def field(name: str, value: Any, param: str, code: str) -> tuple[dict[str, Any], str, str]:
    return {"model": "tiny", "messages": [USER], name: value}, param, code


def messages(value: Any, param: str, code: str) -> tuple[dict[str, Any], str, str]:
    return {"model": "tiny", "messages": value}, param, code


def message(value: Any, param: str, code: str) -> tuple[dict[str, Any], str, str]:
    path = f"messages[1]{'.' if param else ''}{param}"
    return messages([USER, value], path, code)


def content(value: Any, param: str, code: str) -> tuple[dict[str, Any], str, str]:
    return message({"role": "user", "content": value}, f"content{param}", code)


TYPE, MISSING, UNKNOWN = "invalid_type", "missing_required_parameter", "unknown_parameter"
VALUE, LATER = "invalid_value", "unsupported_parameter"

TABLE: list[tuple[dict[str, Any], str, str]] = [
    # What must be there.
    ({}, "messages", MISSING),
    ({"model": "tiny"}, "messages", MISSING),
    ({"messages": [USER]}, "model", MISSING),
    field("model", None, "model", TYPE),
    field("model", 3, "model", TYPE),
    field("model", ["tiny"], "model", TYPE),
    # What nobody knows.
    field("foo", 1, "foo", UNKNOWN),
    field("foo", None, "foo", UNKNOWN),
    field("Temperature", 1, "Temperature", UNKNOWN),
    field("best_of", 1, "best_of", UNKNOWN),
    field("prompt", "x", "prompt", UNKNOWN),
    field("", 1, "", UNKNOWN),
    # Messages: the list.
    messages(None, "messages", TYPE),
    messages("Hi", "messages", TYPE),
    messages({}, "messages", TYPE),
    messages(5, "messages", TYPE),
    messages(True, "messages", TYPE),
    messages([], "messages", "empty_array"),
    messages([None], "messages[0]", TYPE),
    messages(["Hi"], "messages[0]", TYPE),
    messages([[]], "messages[0]", TYPE),
    messages([[USER]], "messages[0]", TYPE),
    messages([USER, 7], "messages[1]", TYPE),
    # Messages: the role.
    message({}, "role", MISSING),
    message({"content": "x"}, "role", MISSING),
    message({"role": None, "content": "x"}, "role", TYPE),
    message({"role": 1, "content": "x"}, "role", TYPE),
    message({"role": ["user"], "content": "x"}, "role", TYPE),
    message({"role": "bot", "content": "x"}, "role", VALUE),
    message({"role": "User", "content": "x"}, "role", VALUE),
    message({"role": "", "content": "x"}, "role", VALUE),
    # Messages: content.
    message({"role": "user"}, "content", MISSING),
    message({"role": "system"}, "content", MISSING),
    message({"role": "developer"}, "content", MISSING),
    message({"role": "assistant"}, "content", MISSING),
    message({"role": "assistant", "content": None}, "content", MISSING),
    content(None, "", TYPE),
    content(1, "", TYPE),
    content(1.5, "", TYPE),
    content(True, "", TYPE),
    content({}, "", TYPE),
    content({"type": "text", "text": "x"}, "", TYPE),
    content([], "", "empty_array"),
    content(["x"], "[0]", TYPE),
    content([None], "[0]", TYPE),
    content([[]], "[0]", TYPE),
    content([{}], "[0].type", MISSING),
    content([{"text": "x"}], "[0].type", MISSING),
    content([{"type": 1}], "[0].type", TYPE),
    content([{"type": None, "text": "x"}], "[0].type", TYPE),
    content([{"type": "words", "text": "x"}], "[0].type", VALUE),
    content([{"type": "refusal", "refusal": "x"}], "[0].type", VALUE),
    content([{"type": "text"}], "[0].text", MISSING),
    content([{"type": "text", "text": None}], "[0].text", TYPE),
    content([{"type": "text", "text": 1}], "[0].text", TYPE),
    content([{"type": "text", "text": ["x"]}], "[0].text", TYPE),
    content([{"type": "text", "text": "x", "more": 1}], "[0].more", UNKNOWN),
    content([{"type": "text", "text": "x"}, {"type": "text"}], "[1].text", MISSING),
    content([{"type": "image_url", "image_url": {"url": "x"}}], "[0]", LATER),
    content([{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}],
            "[0]", LATER),
    content([{"type": "text", "text": "x"}, {"type": "file", "file": {}}], "[1].file.file_data",
            MISSING),
    # Messages: the rest.
    message({**USER, "name": 1}, "name", TYPE),
    message({**USER, "foo": 1}, "foo", UNKNOWN),
    message({**USER, "tool_calls": [CALL]}, "tool_calls", UNKNOWN),
    message({**USER, "tool_call_id": "c1"}, "tool_call_id", UNKNOWN),
    message({"role": "assistant", "content": "x", "refusal": 1}, "refusal", TYPE),
    message({"role": "assistant", "content": "x", "audio": {"id": "a"}}, "audio", VALUE),
    message({"role": "assistant", "audio": {"id": "a"}}, "audio", LATER),
    message({"role": "assistant", "content": "x", "annotations": [{}]},
            "annotations[0].type", MISSING),
    message({"role": "assistant", "tool_calls": []}, "content", MISSING),
    message({"role": "assistant", "tool_calls": {}}, "tool_calls", TYPE),
    message({"role": "assistant", "tool_calls": ["f"]}, "tool_calls[0]", TYPE),
    message({"role": "assistant", "tool_calls": [{}]}, "tool_calls[0].type", MISSING),
    message(
        {"role": "assistant", "tool_calls": [{"type": "magic"}]}, "tool_calls[0].type", VALUE
    ),
    message(
        {"role": "assistant", "tool_calls": [{**CALL, "id": 1}]}, "tool_calls[0].id", TYPE
    ),
    message(
        {"role": "assistant", "tool_calls": [{"type": "function", "id": "c1"}]},
        "tool_calls[0].function",
        MISSING,
    ),
    message(
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f"}}]},
        "tool_calls[0].function.arguments",
        MISSING,
    ),
    message(
        {
            "role": "assistant",
            "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}],
        },
        "tool_calls[0].function.arguments",
        TYPE,
    ),
    message(
        {"role": "assistant", "tool_calls": [CALL, {"id": "c2", "type": "custom"}]},
        "tool_calls[1].custom",
        MISSING,
    ),
    message(
        {"role": "assistant", "function_call": {"name": "f"}}, "function_call.arguments", MISSING
    ),
    message({"role": "assistant", "function_call": "f"}, "function_call", TYPE),
    message(
        {"role": "assistant", "content": [{"type": "audio"}]}, "content[0].type", VALUE
    ),
    message(
        {"role": "assistant", "content": [{"type": "refusal"}]}, "content[0].refusal", MISSING
    ),
    message(
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "x"}, {"type": "refusal", "refusal": "y"}],
        },
        "content",
        VALUE,
    ),
    message({"role": "tool", "content": "x"}, "tool_call_id", MISSING),
    message({"role": "tool", "content": "x", "tool_call_id": 1}, "tool_call_id", TYPE),
    message({"role": "tool", "content": "x", "tool_call_id": "c1"}, "tool_call_id", VALUE),
    message({"role": "tool", "tool_call_id": "c1"}, "content", MISSING),
    messages(
        [{"role": "assistant", "tool_calls": [CALL]},
         {"role": "tool", "content": "x", "tool_call_id": "c2"}],
        "messages[1].tool_call_id",
        VALUE,
    ),
    messages(
        [{"role": "tool", "content": "x", "tool_call_id": "c1"},
         {"role": "assistant", "tool_calls": [CALL]}],
        "messages[0].tool_call_id",
        VALUE,
    ),
    message({"role": "function", "content": "x"}, "name", MISSING),
    message({"role": "function", "name": "f"}, "content", MISSING),
    message({"role": "function", "name": "f", "content": ["x"]}, "content", TYPE),
    # Numbers.
    field("temperature", "1", "temperature", TYPE),
    field("temperature", True, "temperature", TYPE),
    field("temperature", [1], "temperature", TYPE),
    field("temperature", {}, "temperature", TYPE),
    field("temperature", -0.1, "temperature", "decimal_below_min_value"),
    field("temperature", 2.01, "temperature", "decimal_above_max_value"),
    field("temperature", 10**30, "temperature", "decimal_above_max_value"),
    field("top_p", "0.5", "top_p", TYPE),
    field("top_p", False, "top_p", TYPE),
    field("top_p", -1e-9, "top_p", "decimal_below_min_value"),
    field("top_p", 1.0000001, "top_p", "decimal_above_max_value"),
    field("max_tokens", 0, "max_tokens", "integer_below_min_value"),
    field("max_tokens", -5, "max_tokens", "integer_below_min_value"),
    field("max_tokens", 1.5, "max_tokens", TYPE),
    field("max_tokens", 16.0, "max_tokens", TYPE),
    field("max_tokens", "16", "max_tokens", TYPE),
    field("max_tokens", True, "max_tokens", TYPE),
    field("max_completion_tokens", 0, "max_completion_tokens", "integer_below_min_value"),
    field("max_completion_tokens", "5", "max_completion_tokens", TYPE),
    field("n", 0, "n", "integer_below_min_value"),
    field("n", -1, "n", "integer_below_min_value"),
    field("n", 129, "n", "integer_above_max_value"),
    field("n", 10**100, "n", "integer_above_max_value"),
    field("n", 1.0, "n", TYPE),
    field("n", "2", "n", TYPE),
    field("n", True, "n", TYPE),
    field("n", [1], "n", TYPE),
    field("seed", "1", "seed", TYPE),
    field("seed", 1.5, "seed", TYPE),
    field("seed", True, "seed", TYPE),
    field("seed", 2**64, "seed", "integer_above_max_value"),
    field("seed", -(2**63) - 1, "seed", "integer_below_min_value"),
    # Sampling controls.
    field("frequency_penalty", "0", "frequency_penalty", TYPE),
    field("frequency_penalty", True, "frequency_penalty", TYPE),
    field("frequency_penalty", [0], "frequency_penalty", TYPE),
    field("frequency_penalty", -2.01, "frequency_penalty", "decimal_below_min_value"),
    field("frequency_penalty", 2.01, "frequency_penalty", "decimal_above_max_value"),
    field("presence_penalty", "0", "presence_penalty", TYPE),
    field("presence_penalty", False, "presence_penalty", TYPE),
    field("presence_penalty", -3, "presence_penalty", "decimal_below_min_value"),
    field("presence_penalty", 10**40, "presence_penalty", "decimal_above_max_value"),
    field("logit_bias", [], "logit_bias", TYPE),
    field("logit_bias", "1", "logit_bias", TYPE),
    field("logit_bias", 1, "logit_bias", TYPE),
    field("logit_bias", True, "logit_bias", TYPE),
    field("logit_bias", [[1, 5]], "logit_bias", TYPE),
    field("logit_bias", {"1": "5"}, "logit_bias.1", TYPE),
    field("logit_bias", {"1": True}, "logit_bias.1", TYPE),
    field("logit_bias", {"1": None}, "logit_bias.1", TYPE),
    field("logit_bias", {"1": [5]}, "logit_bias.1", TYPE),
    field("logit_bias", {"1": {}}, "logit_bias.1", TYPE),
    field("logit_bias", {"1": 100.5}, "logit_bias.1", "decimal_above_max_value"),
    field("logit_bias", {"1": 5, "2": -101}, "logit_bias.2", "decimal_below_min_value"),
    field("logit_bias", {"1": 10**200}, "logit_bias.1", "decimal_above_max_value"),
    field("logit_bias", {"Paris": 5}, "logit_bias.Paris", VALUE),
    field("logit_bias", {"": 5}, "logit_bias.", VALUE),
    field("logit_bias", {"-1": 5}, "logit_bias.-1", VALUE),
    field("logit_bias", {"-0": 5}, "logit_bias.-0", VALUE),
    field("logit_bias", {"+1": 5}, "logit_bias.+1", VALUE),
    field("logit_bias", {"01": 5}, "logit_bias.01", VALUE),
    field("logit_bias", {"1": 5, "001": 6}, "logit_bias.001", VALUE),
    field("logit_bias", {"1.0": 5}, "logit_bias.1.0", VALUE),
    field("logit_bias", {"1e2": 5}, "logit_bias.1e2", VALUE),
    field("logit_bias", {" 1": 5}, "logit_bias. 1", VALUE),
    field("logit_bias", {"1\n": 5}, "logit_bias.1\n", VALUE),
    field("logit_bias", {"1_0": 5}, "logit_bias.1_0", VALUE),
    field("logit_bias", {"0x10": 5}, "logit_bias.0x10", VALUE),
    field("logit_bias", {"١": 5}, "logit_bias.١", VALUE),
    field("logit_bias", {"²": 5}, "logit_bias.²", VALUE),
    field("logit_bias", {"259": 5}, "logit_bias.259", VALUE),
    field("logit_bias", {"4294967296": 5}, "logit_bias.4294967296", VALUE),
    field("logit_bias", {"9" * 5000: 5}, f"logit_bias.{'9' * 64}…", VALUE),
    field("logit_bias", {str(n): 1 for n in range(1025)}, "logit_bias",
          "object_above_max_properties"),
    field("logit_bias", {str(n): -100 for n in range(259)}, "logit_bias", VALUE),
    field("logprobs", 0, "logprobs", TYPE),
    field("logprobs", 1, "logprobs", TYPE),
    field("logprobs", 5, "logprobs", TYPE),
    field("logprobs", "true", "logprobs", TYPE),
    field("top_logprobs", 0, "top_logprobs", VALUE),
    field("top_logprobs", 5, "top_logprobs", VALUE),
    field("top_logprobs", 21, "top_logprobs", "integer_above_max_value"),
    field("top_logprobs", -1, "top_logprobs", "integer_below_min_value"),
    field("top_logprobs", 1.0, "top_logprobs", TYPE),
    field("top_logprobs", True, "top_logprobs", TYPE),
    field("top_logprobs", "5", "top_logprobs", TYPE),
    field("top_k", -2, "top_k", "integer_below_min_value"),
    field("top_k", 1.5, "top_k", TYPE),
    field("top_k", 40.0, "top_k", TYPE),
    field("top_k", "0", "top_k", TYPE),
    field("top_k", False, "top_k", TYPE),
    field("min_p", "0", "min_p", TYPE),
    field("min_p", True, "min_p", TYPE),
    field("min_p", -0.01, "min_p", "decimal_below_min_value"),
    field("min_p", 1.01, "min_p", "decimal_above_max_value"),
    field("min_tokens", -1, "min_tokens", "integer_below_min_value"),
    field("min_tokens", 0.0, "min_tokens", TYPE),
    field("min_tokens", "3", "min_tokens", TYPE),
    field("min_tokens", True, "min_tokens", TYPE),
    field("min_tokens", 4096, "min_tokens", VALUE),
    field("ignore_eos", 0, "ignore_eos", TYPE),
    field("ignore_eos", 1, "ignore_eos", TYPE),
    field("ignore_eos", "true", "ignore_eos", TYPE),
    field("ignore_eos", [], "ignore_eos", TYPE),
    field("prompt_logprobs", -1, "prompt_logprobs", "integer_below_min_value"),
    field("prompt_logprobs", 21, "prompt_logprobs", "integer_above_max_value"),
    field("prompt_logprobs", 1.0, "prompt_logprobs", TYPE),
    field("prompt_logprobs", True, "prompt_logprobs", TYPE),
    field("prompt_logprobs", "5", "prompt_logprobs", TYPE),
    # Strings, lists, maps.
    field("stop", "", "stop", "empty_string"),
    field("stop", ["a", ""], "stop[1]", "empty_string"),
    field("stop", ["a", 1], "stop[1]", TYPE),
    field("stop", [["a"]], "stop[0]", TYPE),
    field("stop", ["a", None], "stop[1]", TYPE),
    field("stop", list("abcde"), "stop", "array_above_max_length"),
    field("stop", 1, "stop", TYPE),
    field("stop", {"a": 1}, "stop", TYPE),
    field("stop", False, "stop", TYPE),
    field("user", 1, "user", TYPE),
    field("user", "x" * 1025, "user", "string_above_max_length"),
    field("safety_identifier", [], "safety_identifier", TYPE),
    field("safety_identifier", "x" * 65, "safety_identifier", "string_above_max_length"),
    field("metadata", [], "metadata", TYPE),
    field("metadata", "x", "metadata", TYPE),
    field("metadata", {"a": 1}, "metadata.a", TYPE),
    field("metadata", {"a": None}, "metadata.a", TYPE),
    field("metadata", {"a": {}}, "metadata.a", TYPE),
    field("metadata", {"a": "x" * 513}, "metadata.a", "string_above_max_length"),
    field("metadata", {"k" * 65: "x"}, f"metadata.{'k' * 64}…", "string_above_max_length"),
    field("metadata", {str(n): "x" for n in range(17)}, "metadata", "object_above_max_properties"),
    # Choices of words, flags, options.
    field("stream", 1, "stream", TYPE),
    field("stream", "true", "stream", TYPE),
    field("stream", [], "stream", TYPE),
    field("stream_options", {"include_obfuscation": True}, "stream_options", VALUE),
    field("stream_options", {"include_usage": True}, "stream_options", VALUE),
    field("stream_options", [], "stream_options", TYPE),
    field("stream_options", True, "stream_options", TYPE),
    field("stream_options", {"include_usage": 1}, "stream_options.include_usage", TYPE),
    field("stream_options", {"include_obfuscation": "no"},
          "stream_options.include_obfuscation", TYPE),
    field("stream_options", {"foo": 1}, "stream_options.foo", UNKNOWN),
    field("modalities", "text", "modalities", TYPE),
    field("modalities", [], "modalities", "empty_array"),
    field("modalities", [1], "modalities[0]", TYPE),
    field("modalities", ["text", "smell"], "modalities[1]", VALUE),
    field("modalities", ["text", "text"], "modalities", VALUE),
    field("modalities", ["audio"], "audio", MISSING),
    field("web_search_options", {}, "web_search_options", LATER),
    field("response_format", "text", "response_format", TYPE),
    field("response_format", [], "response_format", TYPE),
    field("response_format", {}, "response_format.type", MISSING),
    field("response_format", {"type": 1}, "response_format.type", TYPE),
    field("response_format", {"type": "xml"}, "response_format.type", VALUE),
    field("response_format", {"type": "text", "foo": 1}, "response_format.foo", UNKNOWN),
    field("response_format", {"type": "json_object", "foo": 1}, "response_format.foo", UNKNOWN),
    field("response_format", {"type": None}, "response_format.type", TYPE),
    field("response_format", {"type": "JSON_OBJECT"}, "response_format.type", VALUE),
    field("response_format", {"type": "json_schema"}, "response_format.json_schema", MISSING),
    # Predictions.
    field("prediction", "text", "prediction", TYPE),
    field("prediction", [], "prediction", TYPE),
    field("prediction", {}, "prediction.type", MISSING),
    field("prediction", {"type": "content"}, "prediction.content", MISSING),
    field("prediction", {"content": "x"}, "prediction.type", MISSING),
    field("prediction", {"type": "text", "content": "x"}, "prediction.type", VALUE),
    field("prediction", {"type": 1, "content": "x"}, "prediction.type", TYPE),
    field("prediction", {"type": "content", "content": "x", "foo": 1}, "prediction.foo", UNKNOWN),
    field("prediction", {"type": "content", "content": None}, "prediction.content", TYPE),
    field("prediction", {"type": "content", "content": 1}, "prediction.content", TYPE),
    field("prediction", {"type": "content", "content": {}}, "prediction.content", TYPE),
    field("prediction", {"type": "content", "content": ""}, "prediction.content", "empty_string"),
    field("prediction", {"type": "content", "content": []}, "prediction.content", "empty_array"),
    field("prediction", {"type": "content", "content": [{"type": "text", "text": ""}]},
          "prediction.content", "empty_string"),
    field("prediction", {"type": "content", "content": ["x"]}, "prediction.content[0]", TYPE),
    field("prediction", {"type": "content", "content": [{"type": "text"}]},
          "prediction.content[0].text", MISSING),
    field("prediction", {"type": "content", "content": [{"type": "image_url", "image_url": {}}]},
          "prediction.content[0]", LATER),
    field("prediction", {"type": "content", "content": [{"type": "refusal", "refusal": "x"}]},
          "prediction.content[0].type", VALUE),
    field("prediction", {"type": "content", "content": [{"type": "text", "text": "x"}] * 1025},
          "prediction.content", "array_above_max_length"),
    # Other names of forms.
    field("guided_json", 1, "guided_json", TYPE),
    field("guided_json", [], "guided_json", TYPE),
    field("guided_json", "", "guided_json", "empty_string"),
    field("guided_json", "{", "guided_json", VALUE),
    field("guided_json", "[]", "guided_json", VALUE),
    field("guided_json", '{"a": 1, "a": 1}', "guided_json", VALUE),
    field("guided_json", '{"a":' * 99 + "1" + "}" * 99, "guided_json", VALUE),
    field("guided_json", {"type": "strin"}, "guided_json.type", VALUE),
    field("guided_json", '{"type": "strin"}', "guided_json.type", VALUE),
    field("guided_json", {"items": {"not": {}}}, "guided_json.items.not", VALUE),
    field("guided_regex", 1, "guided_regex", TYPE),
    field("guided_regex", "", "guided_regex", "empty_string"),
    field("guided_regex", "[.*", "guided_regex", VALUE),
    field("guided_regex", "a+?", "guided_regex", VALUE),
    field("guided_choice", "yes", "guided_choice", TYPE),
    field("guided_choice", [], "guided_choice", "empty_array"),
    field("guided_choice", [1], "guided_choice[0]", TYPE),
    field("guided_grammar", {}, "guided_grammar", TYPE),
    field("guided_grammar", "", "guided_grammar", "empty_string"),
    field("guided_grammar", 'start: "a', "guided_grammar", VALUE),
    field("guided_grammar", "root ::= a", "guided_grammar", VALUE),
    field("guided_grammar", 'a ::= "b"', "guided_grammar", VALUE),
    field("guided_grammar", "start: <|im_end|>", "guided_grammar", VALUE),
    field("guided_decoding_backend", "outlines", "guided_decoding_backend", UNKNOWN),
    field("structured_outputs", "json", "structured_outputs", TYPE),
    field("structured_outputs", {}, "structured_outputs", VALUE),
    field("structured_outputs", {"json_object": False}, "structured_outputs", VALUE),
    field("structured_outputs", {"json_object": 1}, "structured_outputs.json_object", TYPE),
    field("structured_outputs", {"json": "["}, "structured_outputs.json", VALUE),
    field("structured_outputs", {"json": {"not": {}}}, "structured_outputs.json.not", VALUE),
    field("structured_outputs", {"regex": "("}, "structured_outputs.regex", VALUE),
    field("structured_outputs", {"grammar": "root ::= ("}, "structured_outputs.grammar", VALUE),
    field("structured_outputs", {"choice": []}, "structured_outputs.choice", "empty_array"),
    field("structured_outputs", {"definition": {}}, "structured_outputs.definition", UNKNOWN),
    field("structured_outputs", {"regex": "a", "choice": ["a"]},
          "structured_outputs.choice", VALUE),
    field("structured_outputs", {"regex": "a", "json_object": True},
          "structured_outputs.json_object", VALUE),
    *(
        field("structured_outputs", {"regex": "a", name: value}, f"structured_outputs.{name}", code)
        for name, value, code in [
            ("structural_tag", "{}", LATER),
            ("whitespace_pattern", " ?", LATER),
            ("disable_additional_properties", True, LATER),
            ("disable_any_whitespace", "yes", TYPE),
            ("disable_fallback", 1, TYPE),
        ]
    ),
    field("bad_words", "damn", "bad_words", TYPE),
    field("bad_words", [1], "bad_words[0]", TYPE),
    field("bad_words", ["a", ""], "bad_words[1]", "empty_string"),
    field("bad_words", ["a\ufffd"], "bad_words[0]", VALUE),
    *(
        ({"model": "tiny", "messages": [USER], "response_format": {"type": "json_object"}} | more,
         param, VALUE)
        for more, param in [
            ({"guided_regex": "a"}, "guided_regex"),
            ({"guided_choice": ["a"], "response_format": None, "guided_json": {}}, "guided_choice"),
            ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ]
    ),
    *[
        field("response_format", {"type": "json_schema", "json_schema": spec}, *fault)
        for spec, *fault in [
            (None, "response_format.json_schema", TYPE),
            ([], "response_format.json_schema", TYPE),
            ({}, "response_format.json_schema.name", MISSING),
            ({"schema": {}}, "response_format.json_schema.name", MISSING),
            ({"name": 1}, "response_format.json_schema.name", TYPE),
            ({"name": ""}, "response_format.json_schema.name", VALUE),
            ({"name": "a b"}, "response_format.json_schema.name", VALUE),
            ({"name": "é"}, "response_format.json_schema.name", VALUE),
            ({"name": "a\n"}, "response_format.json_schema.name", VALUE),
            ({"name": "a" * 65}, "response_format.json_schema.name", VALUE),
            ({"name": "a", "foo": 1}, "response_format.json_schema.foo", UNKNOWN),
            ({"name": "a", "definition": {}}, "response_format.json_schema.definition", UNKNOWN),
            ({"name": "a", "description": 1}, "response_format.json_schema.description", TYPE),
            ({"name": "a", "strict": "yes"}, "response_format.json_schema.strict", TYPE),
            ({"name": "a", "schema": "object"}, "response_format.json_schema.schema", TYPE),
            ({"name": "a", "schema": True}, "response_format.json_schema.schema", TYPE),
        ]
    ],
    *[
        field(
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}},
            f"response_format.json_schema.schema{path}",
            VALUE,
        )
        for schema, path in [
            ({"type": "strin"}, ".type"),
            ({"uniqueItems": True}, ".uniqueItems"),
            ({"properties": {"a": {"not": {}}}}, ".properties.a.not"),
            ({"anyOf": [{}, {"if": {}}]}, ".anyOf[1].if"),
            ({"prefixItems": [{"pattern": "(?=a)"}]}, ".prefixItems[0].pattern"),
            ({"$ref": "#/$defs/none"}, ".$ref"),
            ({"$defs": {"a": {"foo": 1}}}, ".$defs.a.foo"),
            ({"$ref": "#"}, ""),
            ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ".oneOf"),
            ({"type": "object", "minProperties": 1}, ".minProperties"),
        ]
    ],
    field("service_tier", 1, "service_tier", TYPE),
    field("service_tier", "gold", "service_tier", VALUE),
    # Fields that disagree.
    ({"model": "tiny", "messages": [USER], "max_tokens": 5, "max_completion_tokens": 6},
     "max_tokens", VALUE),
    ({"model": "tiny", "messages": [USER], "stream": False,
      "stream_options": {"include_usage": True}},
     "stream_options", VALUE),
    ({"model": "tiny", "messages": [USER], "logprobs": False, "top_logprobs": 0},
     "top_logprobs", VALUE),
    ({"model": "tiny", "messages": [USER], "logprobs": None, "top_logprobs": 20},
     "top_logprobs", VALUE),
    ({"model": "tiny", "messages": [USER], "logprobs": True, "top_logprobs": 21},
     "top_logprobs", "integer_above_max_value"),
    ({"model": "tiny", "messages": [USER], "stream": True, "prompt_logprobs": 0},
     "prompt_logprobs", VALUE),
    ({"model": "tiny", "messages": [USER], "stream": True, "prompt_logprobs": 5},
     "prompt_logprobs", VALUE),
    ({"model": "tiny", "messages": [USER], "max_tokens": 3, "min_tokens": 4},
     "min_tokens", VALUE),
    # The first of several faults.
    ({"messages": [], "temperature": 9, "foo": 1}, "messages", "empty_array"),
    ({"model": "tiny", "messages": [USER], "temperature": 9, "top_p": 9},
     "temperature", "decimal_above_max_value"),
    ({"model": "tiny", "messages": [USER], "logit_bias": {"x": "y", "1": 101}},
     "logit_bias.x", VALUE),
    ({"model": "tiny", "messages": [USER], "logit_bias": {"1": 101}, "min_p": 2},
     "logit_bias.1", "decimal_above_max_value"),
]  # fmt: skip

RAW: list[tuple[bytes, int, str | None, str]] = [
    (b"", 400, None, "invalid_json"),
    (b"{", 400, None, "invalid_json"),
    (b"hello", 400, None, "invalid_json"),
    (b"{'model': 'tiny'}", 400, None, "invalid_json"),
    (b'{"model": "tiny",}', 400, None, "invalid_json"),
    (b'{"model": "tiny"} x', 400, None, "invalid_json"),
    (b"{}{}", 400, None, "invalid_json"),
    (b'\xef\xbb\xbf{"model": "tiny"}', 400, None, "invalid_json"),
    (b'{"model": "\xff"}', 400, None, "invalid_json"),
    (b'{"model": "\xed\xa0\x80"}', 400, None, "invalid_json"),
    (b'{"model": "a\x00b"}', 400, None, "invalid_json"),
    (b'{"model": "a\nb"}', 400, None, "invalid_json"),
    (b'{"model": "\\ud800"}', 400, "model", "invalid_json"),
    (b'{"messages": [{"content": "\\udfff"}]}', 400, "messages[0].content", "invalid_json"),
    (b'{"\\ud800": 1}', 400, None, "invalid_json"),
    (b'{"metadata": {"a": "\\ud83d x"}}', 400, "metadata.a", "invalid_json"),
    (b'{"temperature": NaN}', 400, None, "invalid_json"),
    (b'{"temperature": Infinity}', 400, None, "invalid_json"),
    (b'{"temperature": -Infinity}', 400, None, "invalid_json"),
    (b'{"temperature": 1e999}', 400, "temperature", "invalid_json"),
    (b'{"n": ' + b"9" * 5000 + b"}", 400, None, "invalid_json"),
    (b'{"n": 01}', 400, None, "invalid_json"),
    (b'{"model": "tiny", "model": "tiny"}', 400, None, "invalid_json"),
    (b'{"metadata": {"a": "1", "a": "2"}}', 400, None, "invalid_json"),
    (b"[" * 100_000, 400, None, "invalid_json"),
    (b"[" * 65 + b"]" * 65, 400, None, "invalid_json"),
    (b'{"a":' * 100_000, 400, None, "invalid_json"),
    (b'{"metadata": ' + b"[" * 500 + b"]" * 500 + b"}", 400, None, "invalid_json"),
    (b"null", 400, None, "invalid_type"),
    (b"[]", 400, None, "invalid_type"),
    (b'"hello"', 400, None, "invalid_type"),
    (b"3", 400, None, "invalid_type"),
    (b"true", 400, None, "invalid_type"),
]


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) + len(RAW) >= 250


@pytest.mark.parametrize(("body", "param", "code"), TABLE)
async def test_is_refused(house: Any, body: dict[str, Any], param: str, code: str) -> None:
    response = await house.post(body)
    answer = await response.get_json()
    assert response.status_code == 400, answer
    ErrorBody.model_validate(answer)
    assert (answer["error"]["param"] or "", answer["error"]["code"]) == (param, code)
    assert answer["error"]["type"] == "invalid_request_error"
    assert len(answer["error"]["message"]) < 500
    assert not house.engine.generations


@pytest.mark.parametrize(("body", "status", "param", "code"), RAW)
async def test_raw_body_is_refused(
    house: Any, body: bytes, status: int, param: str | None, code: str
) -> None:
    response = await house.post(raw=body)
    answer = await response.get_json()
    assert response.status_code == status, answer
    ErrorBody.model_validate(answer)
    assert (answer["error"]["param"], answer["error"]["code"]) == (param, code)
    assert len(answer["error"]["message"]) < 500


@pytest.mark.parametrize(
    ("field_name", "value"),
    [
        ("temperature", 0),
        ("temperature", 2),
        ("top_p", 0.0),
        ("seed", 2**64 - 1),
        ("seed", -(2**63)),
        ("n", 128),
        ("stop", None),
        ("stop", list("abcd")),
        ("stream", None),
        ("metadata", {"k" * 64: "v" * 512}),
        ("user", "x" * 64),
        ("modalities", ["text"]),
        ("response_format", {"type": "text"}),
        ("response_format", None),
        ("tool_choice", "none"),
        ("store", False),
        ("max_tokens", 10**9),
        ("frequency_penalty", -2),
        ("frequency_penalty", 2.0),
        ("presence_penalty", 2),
        ("logit_bias", {"0": -100, "258": 100.0}),
        ("logit_bias", {str(n): -100 for n in range(258)}),
        ("top_k", 2**64),
        ("min_p", 1),
        # The context of 4,096 less the prompt's 21.
        ("min_tokens", 4075),
        ("ignore_eos", True),
        ("logprobs", True),
    ],
)
async def test_borders_are_accepted(house: Any, ask: Any, field_name: str, value: Any) -> None:
    response = await house.post(ask(**{field_name: value}))
    assert response.status_code == 200, await response.get_data()


async def test_server_may_allow_fewer_choices(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"max_choices": 4})
    assert (await house.post(ask(n=4))).status_code == 200
    response = await house.post(ask(n=5))
    error = (await response.get_json())["error"]
    assert (error["param"], error["code"]) == ("n", "integer_above_max_value")
    assert error["message"] == (
        "Invalid 'n': integer above maximum value. Expected a value <= 4, but got 5 instead."
    )


async def test_choices_that_could_never_all_fit_are_refused(make_house: Any, ask: Any) -> None:
    house = make_house(most_choices=24)
    assert (await house.post(ask(n=24))).status_code == 200
    response = await house.post(ask(n=25))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"]) == (400, "n")
    assert error["message"] == (
        "Invalid 'n': integer above maximum value. Expected a value <= 24, but got 25 instead. "
        "Rows and queue of this server hold no more together."
    )


@pytest.mark.parametrize("size", [10, 100_000])
async def test_long_bodies_are_checked_alike(house: Any, ask: Any, size: int) -> None:
    body = json.dumps(ask(temperature=3, user="u"))[:-1] + " " * size + "}"
    error = (await (await house.post(raw=body.encode())).get_json())["error"]
    assert (error["param"], error["code"]) == ("temperature", "decimal_above_max_value")


async def test_messages_name_what_was_given_and_what_is_allowed(house: Any, ask: Any) -> None:
    async def message_for(**fields: Any) -> str:
        return (await (await house.post(ask(**fields))).get_json())["error"]["message"]

    assert await message_for(temperature="1") == (
        "Invalid type for 'temperature': expected a number, but got a string instead."
    )
    assert await message_for(stop=list("abcde")) == (
        "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an "
        "array with length 5 instead."
    )
    assert await message_for(temperature=2.5) == (
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 2.5 "
        "instead."
    )
    assert await message_for(logit_bias={"Paris": 5}) == (
        "Invalid key: 'Paris'. Keys must be ids of the model's vocabulary: integers from 0 on, in "
        "decimal digits without sign or leading zeros."
    )
    assert await message_for(logit_bias={"7": 101}) == (
        "Invalid 'logit_bias.7': decimal above maximum value. Expected a value <= 100, but got "
        "101 instead."
    )
    assert await message_for(top_logprobs=3) == (
        "The 'top_logprobs' parameter is only allowed when 'logprobs' is true."
    )
    assert await message_for(stream=True, prompt_logprobs=3) == (
        "The 'prompt_logprobs' parameter is not available when 'stream' is true."
    )
    assert await message_for(audio={"format": "wav", "voice": "alloy"}) == (
        "The 'audio' parameter is only allowed when 'modalities' has 'audio'."
    )
