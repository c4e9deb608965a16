"""Whether a request asks for the model that is served."""

from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.api.wire.faults import echo


def check_model(name: str, settings: ApiSettings) -> None:
    """Refuse any other model than ours.

    Raises:
        ApiError: 404.
    """
    if name not in settings.served_names:
        raise ApiError(
            404,
            f"The model {echo(name)} does not exist. This server has "
            f"'{settings.model_id}'; see /v1/models.",
            code="model_not_found",
            param="model",
        )
