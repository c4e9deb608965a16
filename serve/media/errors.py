"""What is wrong with a picture or a file, as whoever sent it is told."""


class MediaError(ValueError):
    """Bytes that cannot be taken.

    Attributes:
        reason: one sentence or more.
        code: the API's: `file_too_large` for what is over a limit, another for what is wrong.
    """

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
