"""Which tier a request gets of the one that it asks for.

What a tier means is the engine's affair; see `Tier`.
"""

from collections.abc import Sequence

from serve.api.http.keys import digest_of
from serve.engine.types import Tier

_ASKED = {
    None: Tier.DEFAULT,
    "auto": Tier.DEFAULT,
    "default": Tier.DEFAULT,
    "scale": Tier.DEFAULT,
    "flex": Tier.FLEX,
    "priority": Tier.PRIORITY,
}


class ServiceTiers:
    """Grants tiers.

    Args:
        priority_keys: the API keys that may have `priority`; none for everybody.
    """

    def __init__(self, priority_keys: Sequence[str]) -> None:
        self._preferred = {digest_of(key) for key in priority_keys}

    def granted(self, asked: str | None, key: str | None) -> Tier:
        """The tier of a request: the one asked for, or `default` where that may not be had.

        Args:
            asked: its `service_tier`.
            key: a digest of its API key, as `ApiKeys.check` gives it.
        """
        tier = _ASKED[asked]
        kept_back = tier is Tier.PRIORITY and self._preferred and key not in self._preferred
        return Tier.DEFAULT if kept_back else tier
