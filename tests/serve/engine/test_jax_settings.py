from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import pytest

from serve.engine.config import EngineConfigError
from serve.engine.jax_settings import check_devices, check_settings, numeric_settings
from serve.offline import LocalModel


@pytest.fixture
def update() -> Iterator[Callable[[str, Any], None]]:
    """Sets one of JAX's settings until the test's end."""
    before: dict[str, Any] = {}

    def change(name: str, value: Any) -> None:
        before[name] = getattr(jax.config, name)
        jax.config.update(name, value)

    yield change
    for name, value in before.items():
        jax.config.update(name, getattr(value, "value", value))


# Of each of these, an engine failed to start, or failed with its first requests.
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("jax_enable_x64", True, "False"),
        ("jax_disable_jit", True, "False"),
        ("jax_no_tracing", True, "False"),
        ("jax_no_execution", True, "False"),
        ("jax_numpy_dtype_promotion", "strict", "standard"),
        ("jax_numpy_rank_promotion", "raise", "allow or warn"),
        ("jax_debug_infs", True, "False"),
        ("jax_debug_nans", True, "False"),
        ("jax_error_checking_behavior_nan", "raise", "ignore"),
        ("jax_transfer_guard", "disallow", "allow or log or log_explicit"),
        ("jax_transfer_guard_host_to_device", "disallow", "allow or log or log_explicit"),
        ("jax_transfer_guard_device_to_host", "disallow_explicit", "allow or log or log_explicit"),
        ("jax_compilation_cache_check_contents", True, "False"),
    ],
)
def test_what_we_cannot_work_with_is_named(
    update: Callable[[str, Any], None], name: str, value: Any, allowed: str
) -> None:
    check_settings()
    update(name, value)
    with pytest.raises(EngineConfigError) as refusal:
        check_settings()
    said = str(refusal.value)
    assert said.startswith(f"{name.upper()} ({name} in code) is {value!r}, but ")
    assert said.endswith(f"; unset it, or let it be {allowed}")


# With these an engine gave the answers that it gives without.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_check_tracer_leaks", True),
        ("jax_default_matmul_precision", "highest"),
        ("jax_default_prng_impl", "rbg"),
        ("jax_enable_checks", True),
        ("jax_enable_custom_prng", True),
        ("jax_legacy_prng_key", "error"),
        ("jax_log_compiles", True),
        ("jax_numpy_rank_promotion", "warn"),
        ("jax_transfer_guard", "log"),
        ("jax_transfer_guard_device_to_device", "disallow"),
    ],
)
def test_what_leaves_us_alone_may_be(
    update: Callable[[str, Any], None], name: str, value: Any
) -> None:
    update(name, value)
    check_settings()


def test_a_script_is_told_too() -> None:
    with jax.transfer_guard("disallow"), pytest.raises(EngineConfigError, match="transfer_guard"):
        LocalModel.load("/none")


def test_a_setting_that_changes_the_numbers_is_known(update: Callable[[str, Any], None]) -> None:
    before = numeric_settings()
    update("jax_default_matmul_precision", "bfloat16")
    update("jax_threefry_partitionable", False)
    changed = {name: value for name, value in numeric_settings().items() if value != before[name]}
    assert changed == {
        "jax_default_matmul_precision": "bfloat16",
        "jax_threefry_partitionable": False,
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError(
                "Unable to initialize backend 'tpu': INTERNAL: Failed to open libtpu.so "
                "(set JAX_PLATFORMS='' to automatically choose an available backend)"
            ),
            "Unable to initialize backend 'tpu': INTERNAL: Failed to open libtpu.so",
        ),
        (AssertionError(), "there is none of that kind"),
    ],
)
def test_a_platform_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
    update: Callable[[str, Any], None],
    error: Exception,
    reason: str,
) -> None:
    def devices() -> NoReturn:
        raise error

    check_devices()
    monkeypatch.setattr(jax, "devices", devices)
    update("jax_platforms", "tpu")
    with pytest.raises(EngineConfigError) as refusal:
        check_devices()
    assert str(refusal.value) == (
        f"JAX finds no device ({reason}); JAX_PLATFORMS (jax_platforms in code) is 'tpu': name "
        f"what this machine has, such as cpu, or nothing"
    )
