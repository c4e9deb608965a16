"""The fields that steer the draw, as the sampler's settings.

Knows nothing of how tokens are drawn. A field's type and range are the shape's affair; what
depends on the model's vocabulary is checked here.
"""

import secrets

from sampling.params import BAN, SEED_BITS, SamplingParams
from serve.api.wire.errors import invalid
from serve.api.wire.request import ChatRequest


def sampling_params(wire: ChatRequest, vocab_size: int) -> SamplingParams:
    """The settings that a request asks for; without a seed, with a fresh one."""
    # Some servers write -1 for what 0 is here: the whole vocabulary.
    top_k = max(wire.top_k or 0, 0)
    return SamplingParams(
        temperature=1.0 if wire.temperature is None else float(wire.temperature),
        top_p=1.0 if wire.top_p is None else float(wire.top_p),
        seed=secrets.randbits(SEED_BITS) if wire.seed is None else wire.seed,
        logit_bias=tuple((wire.logit_bias or {}).items()),
        frequency_penalty=float(wire.frequency_penalty or 0),
        presence_penalty=float(wire.presence_penalty or 0),
        # A bound that keeps the whole vocabulary is no bound, and costs nothing so.
        top_k=top_k if top_k < vocab_size else 0,
        min_p=float(wire.min_p or 0),
        min_tokens=wire.min_tokens or 0,
        ignore_eos=bool(wire.ignore_eos),
        logprobs=bool(wire.logprobs),
    )


def check_bias(wire: ChatRequest, vocab_size: int, end_ids: frozenset[int]) -> None:
    """The bias names tokens of the model, and leaves one that can be sampled.

    Raises:
        ApiError: 400.
    """
    bias, size = wire.logit_bias or {}, vocab_size
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
        banned |= end_ids
    if len(banned) >= size:
        raise invalid(
            "invalid_value",
            "Invalid 'logit_bias': it bans every token that could be sampled. Leave at least "
            "one above -100; 'ignore_eos' and 'min_tokens' ban the end-of-turn tokens.",
            "logit_bias",
        )
