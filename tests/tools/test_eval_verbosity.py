"""What is told of measured lengths."""

import numpy as np
import pytest

from tools.eval_verbosity import figures


def test_levels_that_rise_are_told_from_those_that_do_not() -> None:
    rng = np.random.default_rng(1)
    medium = rng.uniform(20, 200, 60)
    noise = rng.normal(0, 5, (2, 60))
    found = figures({"low": medium - 30 + noise[0], "medium": medium, "high": medium + noise[1]})
    assert found["characters"]["low"] == pytest.approx(medium.mean() - 30, abs=2)
    assert found["p"]["low < medium"] < 1e-6
    assert found["p"]["medium < high"] > 0.01
