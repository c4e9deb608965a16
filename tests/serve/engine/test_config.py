"""What is derived from the engine's settings, and what cannot be."""

import pytest

from serve.engine.config import EngineConfig, EngineConfigError, default_beside


def config_of(**fields) -> EngineConfig:
    return EngineConfig(**({"context_length": 2048, "cache_tokens": 2048} | fields))


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, (1, 4, 8, 16, 32, 64, 128, 256)),
        ({"least_rows": 4}, (4, 8, 16, 32, 64, 128, 256)),
        ({"prefill_chunk": 32, "max_rows": 4}, (1, 4, 8, 16, 32)),
        ({"prefill_chunk": 16, "max_rows": 30}, (1, 4, 8, 16, 32, 64)),
        ({"context_length": 10, "max_rows": 4}, (1, 4, 8, 16, 32, 64)),
        (
            {"context_length": 100, "prefill_chunk": 2**40, "max_rows": 1},
            (1, 4, 8, 16, 32, 64, 128),
        ),
        ({"deterministic": True}, (16, 64, 128, 256)),
        ({"deterministic": True, "max_rows": 24}, (16, 24, 64, 128, 256)),
        ({"deterministic": True, "max_rows": 24, "context_length": 10}, (16, 24, 64)),
        ({"deterministic": True, "prefill_chunk": 2**40, "context_length": 128}, (16, 64, 128)),
    ],
    ids=str,
)
def test_no_step_is_compiled_that_nothing_fills(settings, sizes):
    assert config_of(**settings).token_buckets == sizes


@pytest.mark.parametrize(
    ("running", "waiting", "tokens"),
    [
        (0, 1, 256),
        (4, 1, 60),  # As if in all 64 are wanted.
        (8, 2, 56),
        (4, 2, 124),  # Half as many wait as run.
        (4, 4, 252),
        (3, 13, 253),
        (8, 10, 248),
        (40, 1, 88),  # Never less than run.
        (63, 1, 65),
    ],
)
def test_a_step_beside_answers_is_short_unless_more_wait(running, waiting, tokens):
    config = config_of(prefill_beside=64)
    assert config.prompt_tokens(running, waiting) == tokens


def test_a_step_holds_every_row_and_a_prompt():
    for rows in (1, 3, 16, 64, 100, 300):
        config = config_of(max_rows=rows, prefill_chunk=16)
        for running in range(rows):
            tokens = config.prompt_tokens(running, 1)
            assert 1 <= tokens <= 16
            assert running + tokens <= config.token_buckets[-1]


@pytest.mark.parametrize(
    ("platform", "chunk", "beside"),
    [("cpu", 256, 64), ("cpu", 32, 16), ("cpu", 16, 16), ("tpu", 256, 256), ("gpu", 512, 512)],
)
def test_who_waits_for_a_step_depends_on_the_platform(platform, chunk, beside):
    assert default_beside(platform, chunk) == beside


@pytest.mark.parametrize("beside", [8, 48, 512])
def test_a_step_beside_answers_cannot_be_longer_than_one_without(beside):
    with pytest.raises(EngineConfigError, match=f"prefill_beside is {beside}; .* 16 to .* 256"):
        config_of(prefill_beside=beside)


def test_a_token_has_a_place_that_32_bits_can_say():
    """And the padding has the place behind the last one."""
    assert EngineConfig(64, cache_tokens=2**31 - 16).num_pages == 2**27 - 1
    with pytest.raises(EngineConfigError, match=r"^a cache of 2147483633 tokens in pages of 16 "):
        EngineConfig(64, cache_tokens=2**31 - 15)
