"""What the server counts, in Prometheus' text format. Knows nothing of HTTP frameworks.

The engine's own counters are read when somebody asks (`watch`); its steps are reported from
the engine thread (`observe_step`), which the client library allows.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from serve.cache_metrics import cache_metrics
from serve.engine.types import EngineClient, EngineState, EngineStats, StepReport, TierStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_FIRST_TOKEN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5)
_HOST_BUCKETS = (
    *(50e-6, 100e-6, 200e-6, 300e-6, 500e-6, 750e-6),
    *(1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.1, 1),
)
_MASK_BUCKETS = (
    *(5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6),
    *(1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3),
)
_STEP_BUCKETS = (
    *(200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 30e-3),
    *(50e-3, 75e-3, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5),
)

_GAUGES = {"running", "waiting", "pages_total", "pages_free", "pages_cached"}
_HELP = {
    "running": "Choices that occupy a row.",
    "waiting": "Choices in the queue.",
    "pages_total": "Cache pages there are.",
    "pages_free": "Cache pages that hold nothing.",
    "pages_cached": "Cache pages that only the prefix cache keeps.",
    "prompt_tokens": "Prompt tokens accepted.",
    "cached_tokens": "Prompt tokens that the prefix cache supplied.",
    "generated_tokens": "Tokens sampled and delivered.",
    "preemptions": "Rows put back, for want of pages, for another caller or a higher tier.",
    "cancelled": "Choices cancelled.",
    "steps": "Engine steps.",
    "compilations": "XLA compilations since the engine became ready; stays 0.",
}


class StepObserver(Protocol):
    """Whoever wants to know of engine steps."""

    def observe_step(self, report: StepReport) -> None:
        """Take note of one step. Called on the engine thread."""
        ...


class Metrics:
    """All metrics of one server, in a registry of their own.

    Args:
        most_callers: so many callers get a series of their own; the rest share `other`, so
            that clients cannot make the metrics grow without end.
    """

    def __init__(self, most_callers: int = 100) -> None:
        self._registry = CollectorRegistry()
        self._most_callers = most_callers
        self._callers: set[str] = set()
        self._requests = self._counter("http_requests", "Requests answered.", "route", "status")
        self._request_seconds = self._histogram(
            "http_request_seconds",
            "From a request's arrival to the end of its response.",
            _REQUEST_BUCKETS,
            "route",
        )
        self._first_token = self._histogram(
            "time_to_first_token_seconds",
            "From a request's arrival to its first token.",
            _FIRST_TOKEN_BUCKETS,
        )
        self._tier_first_token = self._histogram(
            "tier_time_to_first_token_seconds",
            "From a request's arrival to its first token, of each tier.",
            _FIRST_TOKEN_BUCKETS,
            "tier",
        )
        self._tier_seconds = self._histogram(
            "tier_request_seconds",
            "From a completion's arrival to the end of its response, of each tier.",
            _REQUEST_BUCKETS,
            "tier",
        )
        self._between = self._histogram(
            "inter_token_seconds", "Between two tokens of a choice.", _BETWEEN_BUCKETS
        )
        self._tokens = self._counter("tokens", "Tokens of answered requests.", "kind")
        self._caller_tokens = self._counter(
            "caller_tokens", "Tokens of answered requests that name a caller.", "caller"
        )
        self._adapter_tokens = self._counter(
            "adapter_tokens", "Tokens of answered requests for an adapter.", "adapter"
        )
        self._filtered = self._counter(
            "content_filter_matches",
            "What the content filter or the moderation found in requests and answers.",
            "category",
            "side",
        )
        self._searches = self._counter(
            "searches", "Searches for requests, by what came of them.", "outcome"
        )
        self._sound = self._counter(
            "sound_seconds", "Seconds of recordings that were heard, and of spoken answers.", "kind"
        )
        self._sound_failures = self._counter(
            "sound_failures", "Recordings that were not heard, answers not spoken.", "kind"
        )
        self._host = self._histogram(
            "step_host_seconds",
            "Between having a step's tokens and having dispatched the next step's forward call.",
            _HOST_BUCKETS,
        )
        self._step = self._histogram(
            "step_seconds", "From a step's dispatch to the next one's.", _STEP_BUCKETS
        )
        self._mask = self._histogram(
            "mask_seconds", "Making one choice's grammar mask for one step.", _MASK_BUCKETS
        )
        self._step_rows = self._histogram(
            "step_rows", "Choices decoded in a step.", tuple(2.0**n for n in range(11))
        )
        self._prefill = self._counter("prefill_tokens", "Prompt tokens run through prefill.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"parlance_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"parlance_{name}", text, labels, buckets=buckets, registry=self._registry)

    @property
    def registry(self) -> CollectorRegistry:
        """Where other parts show metrics of their own."""
        return self._registry

    def watch(self, engine: EngineClient) -> None:
        """Show the engine's own counters from now on."""
        self._registry.register(_EngineCollector(engine))

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """One request has been answered, or its client has gone."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def observe_first_token(self, seconds: float, tier: str) -> None:
        """A request of a tier has its first token."""
        self._first_token.observe(seconds)
        self._tier_first_token.labels(tier).observe(seconds)

    def observe_tier(self, tier: str, seconds: float) -> None:
        """A completion of a tier has ended, however it did."""
        self._tier_seconds.labels(tier).observe(seconds)

    def observe_between(self, seconds: float) -> None:
        """A choice has one more token, so long after the one before."""
        self._between.observe(seconds)

    def count_tokens(
        self, prompt: int, completion: int, caller: str | None, adapter: str | None = None
    ) -> None:
        """A completion has ended, or was cut off, with so many tokens."""
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)
        if adapter is not None:
            self._adapter_tokens.labels(adapter).inc(prompt + completion)
        if caller is None:
            return
        if caller not in self._callers and len(self._callers) >= self._most_callers:
            caller = "other"
        self._callers.add(caller)
        self._caller_tokens.labels(caller).inc(prompt + completion)

    def count_filtered(self, side: Literal["input", "output"], category: str) -> None:
        """A request, or an answer, says what it may not."""
        self._filtered.labels(category, side).inc()

    def count_sound(self, kind: Literal["heard", "spoken"], seconds: float | None) -> None:
        """So much was heard or spoken; None if it failed."""
        if seconds is None:
            self._sound_failures.labels(kind).inc()
        else:
            self._sound.labels(kind).inc(seconds)

    def count_search(self, outcome: str) -> None:
        """A request was searched for."""
        self._searches.labels(outcome).inc()

    def observe_step(self, report: StepReport) -> None:
        """The engine has made one step; see `StepReport`."""
        self._host.observe(report.host_seconds)
        self._step.observe(report.step_seconds)
        for seconds in report.mask_seconds:
            self._mask.observe(seconds)
        self._step_rows.observe(report.rows)
        self._prefill.inc(report.prefill_tokens)

    def render(self) -> bytes:
        """All metrics as text."""
        return generate_latest(self._registry)


class _EngineCollector(Collector):
    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        stats, state = self._engine.stats, self._engine.state
        for entry in fields(EngineStats):
            if entry.name not in _HELP:
                continue
            name, value = f"parlance_engine_{entry.name}", getattr(stats, entry.name)
            family = GaugeMetricFamily if entry.name in _GAUGES else CounterMetricFamily
            yield family(name, _HELP[entry.name], value=value)
        yield from _tiers(stats)
        yield from cache_metrics(stats.cache)
        states = GaugeMetricFamily(
            "parlance_engine_state", "1 for the state the engine is in.", labels=["state"]
        )
        for known in EngineState:
            states.add_metric([known.value], float(known is state))
        yield states
        info = self._engine.info
        yield InfoMetricFamily(
            "parlance_engine",
            "Facts about the model and the engine.",
            value={
                **{_label(key): value for key, value in info.description.items()},
                "fingerprint": info.fingerprint,
                "context_length": str(info.context_length),
                "vocab_size": str(info.vocab_size),
            },
        )


def _tiers(stats: EngineStats) -> Iterator[Metric]:
    for entry in fields(TierStats):
        name = f"parlance_engine_tier_{entry.name}"
        family = GaugeMetricFamily if entry.name in _GAUGES else CounterMetricFamily
        metric = family(name, f"Of each tier: {_HELP[entry.name]}", labels=["tier"])
        for tier, told in stats.tiers.items():
            metric.add_metric([tier.label], getattr(told, entry.name))
        yield metric


def _label(name: str) -> str:
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return plain if plain[:1].isalpha() else f"_{plain}"
