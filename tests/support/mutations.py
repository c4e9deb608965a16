"""Requests drawn at random, most of them spoiled in some way: in their JSON, bytes or headers.

Everything comes from the generator of random numbers that is given.
"""

import copy
import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

PATH = "/v1/chat/completions"
_JSON = {"Content-Type": "application/json"}
_TEXTS = ["Hi", "Grüße!", "日本語 🦊", "a" * 300, "", "<|im_end|>", 'say "no"\n', "\u200b\u0301"]
_ODD = [
    *(
        "\0",
        "\u202e",
        "\ufeff",
        "\uffff",
        "ﷺ" * 20,
        "e" + "\u0301" * 50,
        "👩\u200d👧",
        "\x7f\x1b[0m",
    ),
    *("\ud800", "<|im_start|>system", "{{ 7 * 7 }}", "../..", "%s%n", "'; --", "[DONE]", "data: x"),
]
_EXTREMES = [
    *(0, -0.0, -1, 1, 2, 1e-320, 1e308, -1e308, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**299),
    *(10**301, 0.1, 1.5, 100, -100, 1e400, float("nan")),
]
_OTHERS: list[Any] = [None, True, False, 3, -1.5, "x", "", [], {}, [None], {"a": 1}, [[]], [{}]]
_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "maxLength": 3}, "é": {"enum": [1, None]}},
    "required": ["a"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Sent:
    """What a client sends.

    Attributes:
        body: bytes, as they go over the wire.
        method: of HTTP.
        path: with its query.
        headers: all of them.
        leaves: whether the client goes before the answer's end.
        asked: the JSON in it, before its bytes were changed.
        valid: whether nothing is wrong with it.
    """

    body: bytes
    method: str = "POST"
    path: str = PATH
    headers: dict[str, str] = field(default_factory=lambda: dict(_JSON))
    leaves: bool = False
    asked: dict[str, Any] = field(default_factory=dict)
    valid: bool = False


def drawn(rng: random.Random, bias: dict[str, float]) -> Sent:
    """A request.

    Args:
        rng: decides all of it.
        bias: makes calls and ends of answers likely.
    """
    asked = valid(rng, bias)
    fate = rng.random()
    if 0.4 <= fate < 0.8:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            asked = changed(rng, asked)
    text = json.dumps(asked, ensure_ascii=fate < 0.8 or rng.random() < 0.5)
    sent = Sent(text.encode(), leaves=rng.random() < 0.1, asked=asked, valid=fate < 0.4)
    if fate < 0.8:
        return sent
    return (_spoiled if fate < 0.9 else _misled)(rng, sent)


# Valid requests.


def valid(rng: random.Random, bias: dict[str, float]) -> dict[str, Any]:
    """A valid request, of any fields that go together."""
    asked: dict[str, Any] = {
        "model": rng.choice(["tiny", "gpt-4o"]),
        "messages": _history(rng),
        rng.choice(["max_tokens", "max_completion_tokens"]): rng.randint(1, 6),
    }
    asked |= {name: value(rng) for name, value in _FIELDS.items() if rng.random() < 0.15}
    if rng.random() < 0.5:
        asked["stream"] = True
        if rng.random() < 0.5:
            asked["stream_options"] = rng.choice(
                [{"include_usage": True}, {"include_obfuscation": False}, {"include_usage": False}]
            )
    elif rng.random() < 0.2:
        asked["prompt_logprobs"] = rng.randint(0, 20)
    if rng.random() < 0.25:
        asked |= {"logprobs": True, "top_logprobs": rng.randint(0, 20)}
    match rng.randrange(6):
        case 0:
            asked |= _format(rng)
        case 1 | 2:
            asked |= _tools(rng) | {"logit_bias": bias}
        case 3:
            asked |= _functions(rng) | {"logit_bias": bias}
        case _:
            pass
    return asked


_FIELDS: dict[str, Callable[[random.Random], Any]] = {
    "temperature": lambda rng: rng.choice([0, 0.5, 1, 2]),
    "top_p": lambda rng: rng.choice([0, 0.3, 1]),
    "top_k": lambda rng: rng.choice([0, 1, 40, 10**6]),
    "min_p": lambda rng: rng.choice([0, 0.1, 1]),
    "frequency_penalty": lambda rng: rng.uniform(-2, 2),
    "presence_penalty": lambda rng: rng.uniform(-2, 2),
    "repetition_penalty": lambda rng: rng.uniform(0.01, 2),
    "stop_token_ids": lambda rng: [rng.randrange(256) for _ in range(rng.randrange(9))],
    "include_stop_str_in_output": lambda rng: rng.random() < 0.5,
    "logit_bias": lambda rng: {str(rng.randrange(256)): rng.uniform(-100, 100) for _ in range(9)},
    "n": lambda rng: rng.randint(1, 3),
    "seed": lambda rng: rng.randrange(-(2**63), 2**64),
    "stop": lambda rng: rng.choice(["e", ["a", "\n\n"], ["é", "日本", "a" * 99, " "]]),
    "min_tokens": lambda _: 1,
    "ignore_eos": lambda rng: rng.random() < 0.5,
    "user": lambda rng: rng.choice(["someone", "é" * 64, ""]),
    "safety_identifier": lambda _: "s" * 64,
    "metadata": lambda rng: {f"k{n}": rng.choice(_TEXTS) for n in range(rng.randint(0, 16))},
    "modalities": lambda _: ["text"],
    "service_tier": lambda rng: rng.choice(["auto", "default", "flex", "scale", "priority"]),
    "store": lambda _: False,
    "reasoning_effort": lambda _: "none",
    "bad_words": lambda rng: rng.choice([[], ["zz"], ["日本", "é!", "z" * 64]]),
}


def _history(rng: random.Random) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if rng.random() < 0.4:
        messages.append({"role": rng.choice(["system", "developer"]), "content": _content(rng)})
    for turn in range(rng.randint(0, 2)):
        messages.append({"role": "user", "content": _content(rng)})
        messages += _turn(rng, turn)
    messages.append({"role": "user", "content": _content(rng), "name": "someone"})
    return messages


def _turn(rng: random.Random, turn: int) -> list[dict[str, Any]]:
    match rng.randrange(4):
        case 0:
            calls = [
                {
                    "id": f"c{turn}",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                },
                {"id": f"d{turn}", "type": "custom", "custom": {"name": "g", "input": "x)"}},
            ]
            results = [
                {"role": "tool", "content": _content(rng), "tool_call_id": call["id"]}
                for call in calls
            ]
            return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]
        case 1:
            call = {"name": "f", "arguments": rng.choice(['{"a": 1}', "not JSON", ""])}
            result = {"role": "function", "name": "f", "content": "12"}
            return [{"role": "assistant", "content": None, "function_call": call}, result]
        case 2:
            return [{"role": "assistant", "content": None, "refusal": "No."}]
        case _:
            return [{"role": "assistant", "content": _content(rng)}]


def _content(rng: random.Random) -> Any:
    text = rng.choice(_TEXTS)
    return text if rng.random() < 0.7 else [{"type": "text", "text": text}] * rng.randint(1, 3)


def _format(rng: random.Random) -> dict[str, Any]:
    schema = {"name": "a", "schema": _SCHEMA, "strict": rng.random() < 0.5}
    return rng.choice(
        [
            {"response_format": {"type": "text"}},
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_schema", "json_schema": schema}},
            {"guided_json": rng.choice([_SCHEMA, json.dumps(_SCHEMA)])},
            {"guided_choice": ["yes", "né", ""]},
            {"guided_regex": "[a-c]{1,3}"},
            {"structured_outputs": {"grammar": 'root ::= "a" | "(" root ")"'}},
        ]
    )


def _tools(rng: random.Random) -> dict[str, Any]:
    regex = {"syntax": "regex", "definition": "[a-zé]{1,4}"}
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": _SCHEMA, "strict": True}},
        {"type": "function", "function": {"name": "h", "description": rng.choice(_TEXTS)}},
        {
            "type": "custom",
            "custom": {"name": "g", "format": {"type": "grammar", "grammar": regex}},
        },
    ]
    named = {"type": "function", "function": {"name": "f"}}
    choices = ["none", "auto", "required", named, {"type": "custom", "custom": {"name": "g"}}]
    allowed = {"mode": rng.choice(["auto", "required"]), "tools": [named]}
    choices.append({"type": "allowed_tools", "allowed_tools": allowed})
    asked: dict[str, Any] = {"tools": tools, "tool_choice": rng.choice(choices)}
    return asked | ({"parallel_tool_calls": False} if rng.random() < 0.3 else {})


def _functions(rng: random.Random) -> dict[str, Any]:
    choice = rng.choice(["none", "auto", {"name": "f"}])
    return {"functions": [{"name": "f", "parameters": _SCHEMA}], "function_call": choice}


# Changes of the JSON.


def changed(rng: random.Random, asked: dict[str, Any]) -> dict[str, Any]:
    """A copy in which something is another."""
    root: dict[str, Any] = copy.deepcopy(asked)
    spots = list(_spots(root))
    if not spots:
        return root
    holder, key = rng.choice(spots)
    match rng.randrange(9):
        case 0:
            del holder[key]
        case 1:
            _double(rng, holder, key)
        case 2:
            holder[key] = copy.deepcopy(rng.choice(_OTHERS))
        case 3:
            other, place = rng.choice(spots)
            holder[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(holder[key])
        case 4:
            for _ in range(rng.choice([1, 2, 70])):
                holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
        case 5:
            holder[key] = rng.choice(_EXTREMES)
        case 6:
            holder[key] = rng.choice(_ODD)
        case 7:
            holder[key] = rng.choice([[1], ["x"], [{}]]) * rng.choice([2, 200])
        case _:
            name = rng.choice(["foo", "Role", "", *_ODD[:4], *_FIELDS])
            if isinstance(holder, dict):
                holder[name] = copy.deepcopy(rng.choice(_OTHERS))
            else:
                holder.append(rng.choice(_OTHERS))
    return root


def _spots(value: Any) -> Any:
    """(holder, key) of everything below, the holders first."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _spots(value[key])


def _double(rng: random.Random, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder[key:key] = [copy.deepcopy(holder[key])] * rng.choice([1, 1, 200])
    else:
        holder[f"{key}{rng.choice(['', '2', ' '])}"] = copy.deepcopy(holder[key])


# Changes of bytes and headers.


def _spoiled(rng: random.Random, sent: Sent) -> Sent:
    body = bytearray(sent.body)
    spot = rng.randrange(len(body))
    match rng.randrange(6):
        case 0:
            del body[spot:]
        case 1:
            for _ in range(rng.choice([1, 1, 5])):
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        case 2:
            body[spot:spot] = rng.choice([b"\0", b"\xff", b'"', b"{", b"]", b",", b"\\u12", b"NaN"])
        case 3:
            body += rng.choice([b"{}", b",", b"\0", b" \n", bytes(body)])
        case 4:
            body[:0] = rng.choice([b"\xef\xbb\xbf", b" ", b"[", b"\xff\xfe"])
        case _:
            body[1:1] = b'"model": "tiny", '
    return replace(sent, body=bytes(body))


def _misled(rng: random.Random, sent: Sent) -> Sent:
    headers = dict(sent.headers)
    match rng.randrange(6):
        case 0:
            headers["Content-Type"] = rng.choice(
                ["text/plain", "", "application/json; charset=utf-16", "application/x+json", "é/ö"]
            )
        case 1:
            packed = rng.choice([gzip.compress, zlib.compress, bytes])(sent.body)
            cut = rng.choice([None, None, -1, len(packed) // 2])
            coding = rng.choice(["gzip", "deflate", "br", "gzip, gzip", "identity", "x-gzip", ","])
            headers["Content-Encoding"] = coding
            return replace(sent, body=packed[:cut], headers=headers)
        case 2:
            method = rng.choice(["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"])
            return replace(sent, method=method)
        case 3:
            path = rng.choice(
                ["/", "/v1", "/v1/models", "/v1/models/tiny", "/v1/models/%00", "/v2/x", PATH + "/"]
            )
            return replace(sent, path=path, method=rng.choice(["GET", "POST"]))
        case 4:
            name = rng.choice(["Authorization", "X-Request-Id", "Origin", "Accept", "Expect"])
            headers[name] = rng.choice(["Bearer x", "a" * 5_000, "*", "é", "100-continue", "null"])
        case _:
            return replace(
                sent, path=PATH + rng.choice(["?a=1", "?a[]=%ff", "?" + "x" * 2_000, "#"])
            )
    return replace(sent, headers=headers)
