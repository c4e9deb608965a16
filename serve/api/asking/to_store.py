"""What of a request is stored with its answer. Knows nothing of where.

Made where the request is read: what it says is not kept otherwise while it is answered.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.request import ChatRequest

# Told as they were asked for, beside the answer.
_TOLD = (
    *("tools", "tool_choice", "seed", "temperature", "top_p", "presence_penalty"),
    *("frequency_penalty", "response_format"),
)


@dataclass(frozen=True, slots=True)
class ToStore:
    """The parts of a request that are stored.

    Attributes:
        model: the name of the model in the answer.
        metadata: the request's.
        fields: a JSON object of the fields that a stored completion tells.
        messages: each a JSON object.
    """

    model: str
    metadata: Mapping[str, str]
    fields: str
    messages: Sequence[str]


def store_off(param: str | None = None) -> ApiError:
    """There is no store: 400."""
    return invalid(
        "unsupported_parameter" if param else "store_off",
        "This server keeps no completions and no files: it was started with --store off, or for a "
        "user without a home directory. Start it with --store FILE, or with the address of a "
        "PostgreSQL database.",
        param,
    )


def to_store(wire: ChatRequest, fields: Mapping[str, Any], settings: ApiSettings) -> ToStore | None:
    """What is to be stored of a request; None where nothing is.

    Args:
        wire: the request.
        fields: the same as it was sent.
        settings: say whether there is a store.

    Raises:
        ApiError: 400; there is none.
    """
    if not wire.store:
        return None
    if not settings.stores:
        raise store_off("store")
    told = {name: fields.get(name) for name in _TOLD}
    return ToStore(
        model=settings.told_name(wire.model),
        metadata=wire.metadata or {},
        fields=_json({**told, "input_user": wire.user}),
        messages=[_json(_message(message)) for message in fields["messages"]],
    )


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as lists of stored ones show it: parts have a place of their own."""
    content = message.get("content")
    parts: list[Any] = content if isinstance(content, list) else []
    refusals = [part["refusal"] for part in parts if part["type"] == "refusal"]
    return {
        **{name: value for name, value in message.items() if name != "id"},
        "content": None if parts else content,
        "name": message.get("name"),
        "refusal": refusals[0] if refusals else message.get("refusal"),
        "content_parts": None if not parts or refusals else parts,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
