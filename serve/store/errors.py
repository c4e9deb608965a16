"""What can go wrong with the store, for those who use it."""


class StoreStartError(Exception):
    """The store cannot be used with these settings; the message says why and what to do."""


class StoreUnavailableError(Exception):
    """The store does not do what it was asked at the moment: a full disk, a lost database."""


class StoreFullError(StoreUnavailableError):
    """The store holds as much as it may."""


class OwnerFullError(Exception):
    """The files of one owner take as much as they may."""


class UnknownCursorError(Exception):
    """A list was to go on after something that this owner has never had."""
