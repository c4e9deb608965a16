"""Pallas TPU kernels on a CPU, by the interpreter that turns them into XLA operations.

The interpreter that simulates a TPU (`force_tpu_interpret_mode`) cannot reshape references,
which the attention kernel does.
"""

from functools import partial
from importlib import import_module
from typing import Any

import pytest
from jax._src.literals import TypedInt
from jax.experimental import pallas
from jax.experimental.pallas import tpu

from model.kernels import ragged_sinks

_TPU = "jax.experimental.pallas.ops.tpu"
_KERNELS = (f"{_TPU}.ragged_paged_attention.kernel", f"{_TPU}.flash_attention")


class _Interpreting:
    """`jax.experimental.pallas`, whose kernels are interpreted."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(pallas, name)
        return partial(value, interpret=True) if name == "pallas_call" else value


def interpret_attention(patch: pytest.MonkeyPatch) -> None:
    """Have the attention kernels interpreted."""
    for module in (*map(import_module, _KERNELS), ragged_sinks):
        patch.setattr(module, "pl", _Interpreting())
    # It knows no memory but one.
    patch.setattr(tpu, "with_memory_space_constraint", lambda x, _: x)
    # The interpreter asks constant indices for their shape, which they lack.
    patch.setattr(TypedInt, "shape", (), raising=False)
