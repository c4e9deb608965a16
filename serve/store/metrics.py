"""What is counted of the store, in the registry of the server's other metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class StoreMetrics:
    """The metrics of one store.

    Args:
        registry: that shows them; a fresh one shows them to nobody.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._stored = Counter(
            "parlance_store_stored",
            "Completions and files stored.",
            ["kind"],
            registry=registry,
        )
        self._deleted = Counter(
            "parlance_store_deleted",
            "Completions and files deleted, by a caller or because they expired.",
            ["kind", "why"],
            registry=registry,
        )
        self._bytes = Gauge("parlance_store_bytes", "Bytes in the store.", registry=registry)
        self._failures = Counter(
            "parlance_store_failures",
            "Transactions that failed.",
            ["operation"],
            registry=registry,
        )
        self._seconds = Histogram(
            "parlance_store_seconds",
            "Of a transaction, waiting for its turn included.",
            ["operation"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def stored(self, kind: str) -> None:
        """One more completion or file is there."""
        self._stored.labels(kind).inc()

    def deleted(self, kind: str, why: str, count: int = 1) -> None:
        """Some are no longer there."""
        self._deleted.labels(kind, why).inc(count)

    def holds(self, count: int) -> None:
        """So many bytes are in the store."""
        self._bytes.set(count)

    def failed(self, operation: str) -> None:
        """A transaction has failed."""
        self._failures.labels(operation).inc()

    def took(self, operation: str, seconds: float) -> None:
        """A transaction has ended, one way or the other."""
        self._seconds.labels(operation).observe(seconds)
