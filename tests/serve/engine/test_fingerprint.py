import jax
from support.tiny import tiny_model

from model.bundled import directory
from serve.engine.config import EngineConfig
from serve.engine.fingerprint import fingerprint


def test_a_setting_of_jax_that_changes_the_numbers_changes_it() -> None:
    model, config = tiny_model(), EngineConfig(context_length=64, cache_tokens=64)
    plain = fingerprint(directory(), model, config)
    with jax.default_matmul_precision("bfloat16"):
        assert fingerprint(directory(), model, config) != plain
    assert fingerprint(directory(), model, config) == plain
