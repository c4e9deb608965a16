"""What files are refused for, each a `MediaError` with a code of its own."""

from serve.media.errors import MediaError


def unsupported(reason: str) -> MediaError:
    """It is nothing that is read."""
    return MediaError(reason, "unsupported_file")


def broken(reason: str) -> MediaError:
    """It is damaged, locked, or not what it claims to be."""
    return MediaError(reason, "invalid_file")


def too_large(reason: str) -> MediaError:
    """It is, or takes, more than a file may."""
    return MediaError(reason, "file_too_large")
