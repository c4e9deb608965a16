"""What is derived from the engine's settings, and what cannot be."""

import pytest

from serve.engine.config import EngineConfig, EngineConfigError


@pytest.mark.parametrize(
    ("chunk", "context", "lengths"),
    [
        (256, 2048, (16, 64, 128, 256)),
        (32, 2048, (16, 32)),
        (256, 10, (16, 64)),
        (2**40, 100, (16, 64, 128)),
        (2**40, 128, (16, 64, 128)),
    ],
)
def test_no_chunk_is_compiled_that_no_prompt_fills(
    chunk: int, context: int, lengths: tuple[int, ...]
) -> None:
    config = EngineConfig(context_length=context, cache_tokens=2048, prefill_chunk=chunk)
    assert config.prefill_buckets == lengths


def test_a_token_has_a_place_that_32_bits_can_say() -> None:
    """And the padding has the place behind the last one."""
    assert EngineConfig(64, cache_tokens=2**31 - 16).num_pages == 2**27 - 1
    with pytest.raises(EngineConfigError, match=r"^a cache of 2147483633 tokens in pages of 16 "):
        EngineConfig(64, cache_tokens=2**31 - 15)
