"""What is wrong with a filter, as the one who starts the server is told."""


class FilterError(ValueError):
    """A content filter that cannot be used; the message says where it is wrong."""
