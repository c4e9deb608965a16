"""What a request asks of the prompt cache."""

from serve.api.wire.errors import invalid
from serve.api.wire.request import ChatRequest


def check_retention(wire: ChatRequest, *, keeps_pages: bool) -> None:
    """Refuse to keep what there is no place for.

    Args:
        wire: the request.
        keeps_pages: whether the server has a directory of pages.

    Raises:
        ApiError: 400.
    """
    if wire.cached_for_days and not keeps_pages:
        raise invalid(
            "unsupported_parameter",
            "Unsupported 'prompt_cache_retention': for '24h' this server must be started with "
            "--cache-dir DIRECTORY. Leave it out, or send 'in_memory'.",
            "prompt_cache_retention",
        )
