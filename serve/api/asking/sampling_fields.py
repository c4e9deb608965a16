"""The fields that steer the draw, as the sampler's settings.

Knows nothing of how tokens are drawn. A field's type and range are the shape's affair; what
depends on the model's vocabulary is checked here.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace

from sampling.params import BAN, MAX_LOGIT_BIAS, SEED_BITS, SamplingParams
from serve.api.wire.errors import invalid
from serve.api.wire.request import ChatRequest


def sampling_params(
    wire: ChatRequest, vocab_size: int, defaults: Mapping[str, float]
) -> SamplingParams:
    """The settings that a request asks for; without a seed, with a fresh one.

    Args:
        wire: the request.
        vocab_size: of the model.
        defaults: what holds where the request is silent; see `ApiSettings.sampling_defaults`.
    """

    def value(field: str) -> float:
        asked: float | None = getattr(wire, field)
        return defaults[field] if asked is None else asked

    # Some servers write -1 for what 0 is here: the whole vocabulary.
    top_k = max(int(value("top_k")), 0)
    return SamplingParams(
        temperature=float(value("temperature")),
        top_p=float(value("top_p")),
        seed=secrets.randbits(SEED_BITS) if wire.seed is None else wire.seed,
        logit_bias=tuple((wire.logit_bias or {}).items()),
        frequency_penalty=float(wire.frequency_penalty or 0),
        presence_penalty=float(wire.presence_penalty or 0),
        # A bound that keeps the whole vocabulary is no bound, and costs nothing so.
        top_k=top_k if top_k < vocab_size else 0,
        min_p=float(value("min_p")),
        min_tokens=wire.min_tokens or 0,
        ignore_eos=bool(wire.ignore_eos),
        logprobs=bool(wire.logprobs),
        repetition_penalty=float(value("repetition_penalty")),
        stop_ids=tuple(dict.fromkeys(wire.stop_token_ids or ())),
    )


def without_token(sampling: SamplingParams, token: int) -> SamplingParams:
    """The settings, with a token that is never sampled.

    Raises:
        ApiError: 400; the request biases as many tokens as can be already.
    """
    others = [(other, bias) for other, bias in sampling.logit_bias if other != token]
    if len(others) >= MAX_LOGIT_BIAS:
        raise invalid(
            "invalid_value",
            f"Invalid 'logit_bias': with 'reasoning_effort': 'none' it may name "
            f"{MAX_LOGIT_BIAS - 1} tokens, for the one that opens thoughts is banned.",
            "logit_bias",
        )
    return replace(sampling, logit_bias=(*others, (token, BAN)))


def check_tokens(sampling: SamplingParams, vocab_size: int, end_ids: frozenset[int]) -> None:
    """Settings name tokens of the model, and leave one that can be sampled.

    Raises:
        ApiError: 400.
    """
    named = [("logit_bias", f"logit_bias.{token}", token) for token, _ in sampling.logit_bias]
    places = enumerate(sampling.stop_ids)
    named += [("stop_token_ids", f"stop_token_ids[{at}]", token) for at, token in places]
    for field, at, token in named:
        if token >= vocab_size:
            raise invalid(
                "invalid_value",
                f"Invalid '{field}': {token} is no token of this model. Ids are 0 to "
                f"{vocab_size - 1}.",
                at,
            )
    if len({*sampling.banned, *sampling.early_ids(end_ids)}) >= vocab_size:
        raise invalid(
            "invalid_value",
            "Invalid 'logit_bias': it bans every token that could be sampled. Leave at least "
            "one above -100; 'ignore_eos' and 'min_tokens' ban the end-of-turn tokens.",
            "logit_bias",
        )
