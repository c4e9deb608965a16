"""`GET /models` and `GET /models/{id}`: the names of the model and of its adapters."""

from quart import Response, jsonify

from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.api.wire.faults import echo


class ModelsEndpoint:
    """The handlers."""

    def __init__(self, settings: ApiSettings) -> None:
        self._models = {
            name: {
                "id": name,
                "object": "model",
                "created": settings.created,
                "owned_by": settings.owned_by,
                "root": settings.adapters.get(name, settings.model_id),
                "parent": settings.model_id if name in settings.adapters else None,
                "sampling_defaults": dict(settings.sampling_defaults),
                "max_answer_tokens": settings.max_answer_tokens or None,
            }
            for name in settings.served_names
        }

    async def list(self) -> Response:
        """All names."""
        return jsonify({"object": "list", "data": [*self._models.values()]})

    async def retrieve(self, model_id: str) -> Response:
        """One of them."""
        if model_id not in self._models:
            raise ApiError(
                404,
                f"The model {echo(model_id)} does not exist; see /v1/models.",
                code="model_not_found",
                param="model",
            )
        return jsonify(self._models[model_id])
