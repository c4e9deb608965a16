"""What JAX was told to do, by its variables or in code: what of it we cannot work with.

JAX reads `JAX_…` variables when it is imported, and `jax.config` may change them later; both end up
in the same settings. Most leave us alone. Those that do not are refused here, in one table; those
that change the numbers are part of the fingerprint.
"""

from enum import Enum
from typing import NamedTuple

import jax

from serve.engine.config import EngineConfigError


class _Rule(NamedTuple):
    """A setting of JAX that we cannot work with.

    Attributes:
        works: the values that we can work with; the first is what holds where it is not set.
        why: why not with others, as what follows "but".
    """

    works: tuple[object, ...]
    why: str


_COMPILED = "the engine runs compiled programs and nothing else"
_PROMOTES = "the programs combine arrays of different types and ranks"
_TRANSFERS = "each step sends its inputs to the device and fetches its tokens"
_ALLOWED = (None, "allow", "log", "log_explicit")

_RULES = {
    "jax_enable_x64": _Rule((False,), "the programs are written for 32-bit integers"),
    "jax_disable_jit": _Rule((False,), _COMPILED),
    "jax_no_tracing": _Rule((False,), _COMPILED),
    "jax_no_execution": _Rule((False,), _COMPILED),
    "jax_numpy_dtype_promotion": _Rule(("standard",), _PROMOTES),
    "jax_numpy_rank_promotion": _Rule(("allow", "warn"), _PROMOTES),
    "jax_debug_infs": _Rule(
        (False,), "minus infinity is the score of a token that must not be sampled"
    ),
    "jax_debug_nans": _Rule((False,), "every step would read the whole key-value cache"),
    "jax_error_checking_behavior_nan": _Rule(
        ("ignore",), "the programs cannot be compiled with such checks"
    ),
    "jax_transfer_guard": _Rule(_ALLOWED, _TRANSFERS),
    "jax_transfer_guard_host_to_device": _Rule(_ALLOWED, _TRANSFERS),
    "jax_transfer_guard_device_to_host": _Rule(_ALLOWED, _TRANSFERS),
    "jax_compilation_cache_check_contents": _Rule(
        (False,), "XLA does not compile a program to the same bytes twice"
    ),
}

# With another value of these, the same programs and weights make other numbers, or may.
_NUMERIC = (
    "jax_default_matmul_precision",
    "jax_disable_most_optimizations",
    "jax_exec_time_optimization_effort",
    "jax_optimization_level",
    "jax_threefry_partitionable",
    "jax_use_shardy_partitioner",
)
# Those that say which devices there are.
_DEVICES = ("jax_platforms", "jax_platform_name", "jax_xla_backend", "jax_num_cpu_devices")


def check_settings() -> None:
    """Refuse what the engine would die of, at once or with its first requests.

    Raises:
        EngineConfigError: one of JAX's settings has a value that we cannot work with.
    """
    for name, rule in _RULES.items():
        value = getattr(jax.config, name, rule.works[0])
        value = value.value if isinstance(value, Enum) else value
        if value not in rule.works:
            works = " or ".join(str(value) for value in rule.works if value is not None)
            raise EngineConfigError(
                f"{_told(name, value)}, but {rule.why}; unset it, or let it be {works}"
            )


def check_devices() -> None:
    """Have JAX look for its devices.

    Raises:
        EngineConfigError: there are none of the kind that it was told to use.
    """
    try:
        jax.devices()
    # The assertion is what JAX 0.11 says of a platform whose plugin is not installed.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition(" (")[0].rstrip(".") or "there is none of that kind"
        values = [(name, jax.config.values.get(name)) for name in _DEVICES]
        told = [_told(name, value) for name, value in values if value not in ("", None, -1)]
        raise EngineConfigError(
            f"JAX finds no device ({reason}); "
            + (
                f"{' and '.join(told)}: name what this machine has, such as cpu, or nothing"
                if told
                else "is the accelerator used by another program?"
            )
        ) from error


def numeric_settings() -> dict[str, object]:
    """The settings that change the numbers, by name."""
    return {name: getattr(jax.config, name, None) for name in _NUMERIC}


def _told(name: str, value: object) -> str:
    return f"{name.upper()} ({name} in code) is {value!r}"
