"""The prompt cache's tiers in Prometheus' form: by tier, class and direction, never by key."""

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from serve.engine.types import CacheStats


def cache_metrics(stats: CacheStats) -> Iterator[Metric]:
    """All of them."""
    hits = CounterMetricFamily(
        "parlance_prompt_cache_hit_tokens",
        "Prompt tokens that were found, by where, and by whether their request names a group.",
        labels=["tier", "class"],
    )
    for labels, tokens in stats.hits.items():
        hits.add_metric(labels, tokens)
    yield hits
    held = GaugeMetricFamily(
        "parlance_prompt_cache_bytes", "What pages outside the device take.", labels=["tier"]
    )
    held.add_metric(["host"], stats.host_bytes)
    held.add_metric(["directory"], stats.directory_bytes)
    yield held
    yield _by("moved_pages", "Pages moved.", "direction", stats.moved)
    yield _by("failures", "Pages that could not be moved.", "during", stats.failures)
    yield CounterMetricFamily(
        "parlance_prompt_cache_dropped_pages",
        "Pages that were not saved because too many were on their way.",
        value=stats.dropped,
    )


def _by(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"parlance_prompt_cache_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
