"""What can go wrong between hosts."""


class HostsError(ValueError):
    """The processes cannot serve together; the message says why and what to do."""


class HostLostError(Exception):
    """Another process has gone, or fallen silent."""
