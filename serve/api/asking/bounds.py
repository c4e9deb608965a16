"""How much a request may ask for: choices, and tokens of each one's answer."""

from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.request import ChatRequest


def check_choices(wire: ChatRequest, allowed: int, fitting: int) -> None:
    """Refuse more choices than there can ever be.

    Args:
        wire: the request.
        allowed: the most that the server's settings allow.
        fitting: the most that rows and queue hold together.

    Raises:
        ApiError: 400.
    """
    most = min(allowed, fitting)
    if wire.choices > most:
        why = "" if allowed <= fitting else " Rows and queue of this server hold no more together."
        raise invalid(
            "integer_above_max_value",
            f"Invalid 'n': integer above maximum value. Expected a value <= {most}, but got "
            f"{wire.n} instead.{why}",
            "n",
        )


CONTEXT_EXCEEDED = "context_length_exceeded"


def context_exceeded(given: str, limit: int) -> ApiError:
    """A prompt of `given` tokens leaves no room for an answer: 400."""
    return invalid(
        CONTEXT_EXCEEDED,
        f"This model's maximum context length is {limit} tokens. However, your messages "
        f"resulted in {given} tokens. Input tokens exceed the configured limit "
        f"of {limit} tokens, which must also hold the answer. Please reduce the length "
        f"of the messages.",
        "messages",
    )


def token_bound(
    wire: ChatRequest, prompt_length: int, context_length: int, unasked: int = 0
) -> int:
    """The most tokens that a choice may have: what is asked for, within the context.

    Args:
        wire: the request.
        prompt_length: tokens of its prompt.
        context_length: most tokens of prompt and answer together.
        unasked: bounds a request that asks for no bound; 0 for none.

    Raises:
        ApiError: 400; the prompt leaves no room, or less than `min_tokens`.
    """
    limit = context_length
    if prompt_length >= limit:
        raise context_exceeded(str(prompt_length), limit)
    room = limit - prompt_length
    bound = min(wire.max_completion_tokens or wire.max_tokens or unasked or room, room)
    if (wire.min_tokens or 0) > bound:
        raise invalid(
            "invalid_value",
            f"Invalid 'min_tokens': it is {wire.min_tokens}, but this answer has at most "
            f"{bound} tokens, for which 'max_completion_tokens', the server's own bound where "
            f"that is not sent, or what the messages leave of the context is the bound.",
            "min_tokens",
        )
    return bound
