"""A `build` that only moves values about, as copies between views of NumPy arrays.

`Stored.build` is a traceable function. Most do nothing but transpose, reshape, slice and join
their tensors; traced once, such a function becomes a list of copies straight from the tensors
into the parameter, which on a CPU are many times faster than the program that XLA makes of it.
Knows nothing of checkpoints.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal


class Copy(NamedTuple):
    """Two views of the same shape: `source` is to be copied to `target`."""

    target: np.ndarray
    source: np.ndarray


def copies(
    build: Callable[..., jax.Array], sources: Sequence[np.ndarray], target: np.ndarray
) -> list[Copy] | None:
    """The copies that fill `target` with `build(*sources)`, or None if it computes something."""
    shapes = tuple(jax.ShapeDtypeStruct(source.shape, source.dtype) for source in sources)
    walk = _Walk(_trace(build, shapes), sources)
    return walk.copies if walk.fill(walk.result, target) else None


@cache
def _trace(
    build: Callable[..., jax.Array], shapes: tuple[jax.ShapeDtypeStruct, ...]
) -> ClosedJaxpr:
    # JAX keeps weak references to what it traces, and a build need not allow them.
    return jax.make_jaxpr(partial(build))(*shapes)


class _Walk:
    """One way through a traced function, from its result back to its arguments."""

    def __init__(self, traced: ClosedJaxpr, sources: Sequence[np.ndarray]) -> None:
        self.copies: list[Copy] = []
        self._views: dict[Any, np.ndarray] = dict(zip(traced.jaxpr.invars, sources, strict=True))
        self._makers = {made: step for step in traced.jaxpr.eqns for made in step.outvars}
        (self.result,) = traced.jaxpr.outvars

    def fill(self, variable: Any, target: np.ndarray) -> bool:
        """Note the copies that make `variable` in `target`; False if copies cannot."""
        view = self._view(variable)
        if view is not None:
            self.copies.append(Copy(target, view))
            return True
        step = self._makers.get(variable)
        if step is None:
            return False
        match step.primitive.name:
            case "transpose":
                back = np.argsort(step.params["permutation"])
                return self.fill(step.invars[0], target.transpose(back))
            case "reshape" | "broadcast_in_dim" | "squeeze":
                inside = _reshaped(target, step.invars[0].aval.shape)
                return inside is not None and self.fill(step.invars[0], inside)
            case "stack":
                parts = np.moveaxis(target, step.params["axis"], 0)
            case "concatenate":
                axis = step.params["dimension"]
                ends = np.cumsum([part.aval.shape[axis] for part in step.invars])
                parts = np.split(target, ends[:-1], axis)
            case _:
                return False
        return all(self.fill(part, into) for part, into in zip(step.invars, parts, strict=True))

    def _view(self, variable: Any) -> np.ndarray | None:
        """`variable` as a view of one of the arguments, if it is one."""
        if isinstance(variable, Literal):
            return None
        if variable in self._views or variable not in self._makers:
            return self._views.get(variable)
        step = self._makers[variable]
        source = self._view(step.invars[0]) if step.invars else None
        if source is None:
            return None
        view: np.ndarray | None = None
        match step.primitive.name:
            case "transpose":
                view = source.transpose(step.params["permutation"])
            case "reshape" | "broadcast_in_dim" | "squeeze":
                view = _reshaped(source, variable.aval.shape)
            case "slice":
                bounds = (step.params["start_indices"], step.params["limit_indices"])
                strides = step.params["strides"] or (1,) * source.ndim
                view = source[tuple(map(slice, *bounds, strides))]
            case "split":
                ends = np.cumsum(step.params["sizes"])
                parts = np.split(source, ends[:-1], step.params["axis"])
                view = parts[step.outvars.index(variable)]
            case _:
                return None
        if view is not None:
            self._views[variable] = view
        return view


def _reshaped(view: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """A view of another shape with the values in the same order, if strides can express it."""
    try:
        return np.reshape(view, shape, copy=False)
    except ValueError:
        return None
