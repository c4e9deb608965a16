"""Whether the process lives, whether it can answer, and what it counts."""

from quart import Response, jsonify

from serve.api.answering.failures import unavailable
from serve.api.settings import ApiSettings
from serve.engine.types import EngineClient, EngineState, EngineUnavailableError
from serve.metrics import CONTENT_TYPE, Metrics


class HealthEndpoint:
    """The handlers."""

    def __init__(self, engine: EngineClient, settings: ApiSettings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics

    async def live(self) -> Response:
        """200 as long as the process answers at all."""
        return jsonify({"status": "live"})

    async def ready(self) -> Response:
        """200 from the end of the warm-up until draining begins or the engine dies.

        Raises:
            ApiError: 503 before, meanwhile and after.
        """
        state = self._engine.state
        if state is not EngineState.READY:
            raise unavailable(EngineUnavailableError(state), self._settings.retry_after_seconds)
        stats = self._engine.stats
        return jsonify(
            {
                "status": state.value,
                "model": self._settings.model_id,
                "running": stats.running,
                "waiting": stats.waiting,
            }
        )

    async def metrics(self) -> Response:
        """Prometheus text."""
        return Response(self._metrics.render(), content_type=CONTENT_TYPE)
