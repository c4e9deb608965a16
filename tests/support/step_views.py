"""Views of a step, stated plainly."""

import jax.numpy as jnp
import numpy as np

from model.paged import StepView

# Of each row the position of its first token, and how many there are.
Rows = list[tuple[int, int]]


def step_view(size: int, rows: Rows, tables: np.ndarray) -> StepView:
    """Where a step's tokens are: so many, with those of these rows in front, the rest padding.

    Args:
        size: tokens, N.
        rows: those of one token first, the one that sees most before the others.
        tables: of each row, [S, M]; more than there are rows for padding.
    """
    owners, positions = np.zeros(size, np.int32), np.full(size, -1, np.int32)
    starts, counts = np.full(len(tables), size, np.int32), np.zeros(len(tables), np.int32)
    at = 0
    for row, (start, count) in enumerate(rows):
        owners[at : at + count] = row
        positions[at : at + count] = np.arange(start, start + count)
        starts[row], counts[row] = at, count
        at += count
    return StepView(*map(jnp.asarray, (tables.astype(np.int32), starts, counts, owners, positions)))
