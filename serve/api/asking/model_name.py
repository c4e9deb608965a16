"""Whether a request asks for the model that is served, or for one of its adapters."""

from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.api.wire.faults import echo


def adapter_of(name: str, settings: ApiSettings) -> int | None:
    """The number of the adapter that a request's `model` names; None for the model itself.

    Raises:
        ApiError: 404, the name is neither's.
    """
    if name not in settings.served_names:
        known = ", ".join(f"'{each}'" for each in (settings.model_id, *settings.adapters))
        raise ApiError(
            404,
            f"The model {echo(name)} does not exist. This server has {known}; see /v1/models.",
            code="model_not_found",
            param="model",
        )
    return list(settings.adapters).index(name) if name in settings.adapters else None
