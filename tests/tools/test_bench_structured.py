"""Quantiles of mask times, from a server's buckets."""

import pytest

from serve.engine.types import StepReport
from serve.metrics import Metrics
from tools.bench_structured import mask_buckets, quantile
from tools.load_generator import LoadError


def test_quantiles_are_interpolated_inside_the_bucket_they_fall_into() -> None:
    """Ten masks since: four up to 1, four up to 2, two beyond 4."""
    before = [(1.0, 5.0), (2.0, 5.0), (4.0, 6.0), (float("inf"), 6.0)]
    after = [(1.0, 9.0), (2.0, 13.0), (4.0, 14.0), (float("inf"), 16.0)]
    assert quantile(before, after, 0.2) == 0.5
    assert quantile(before, after, 0.5) == 1.25
    assert quantile(before, after, 0.99) == 4.0
    assert quantile(after, after, 0.5) is None


def test_buckets_are_those_of_the_servers_metrics() -> None:
    metrics = Metrics()
    before = mask_buckets(metrics.render().decode())
    metrics.observe_step(StepReport(2, 0, 0.0, 0.0, mask_seconds=(30e-6, 30e-6, 0.015)))
    after = mask_buckets(metrics.render().decode())
    assert after[-1] == (float("inf"), 3.0)
    middle = quantile(before, after, 0.5)
    assert middle is not None
    assert 20e-6 < middle < 50e-6


def test_another_server_is_told_apart() -> None:
    with pytest.raises(LoadError, match="have no parlance_mask_seconds"):
        mask_buckets("# TYPE up gauge\nup 1\n")
