"""Which network a client is of, by a name: a label that says where trouble comes from, and has few values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from gatepost.policy import is_within
from gatepost.settings import BUILT_IN_NETWORKS, NetworkSettings

REMEMBERED = 4096  # addresses


class Networks:
    """Those that the settings name, the first that fits; then those that are built in."""

    def __init__(self, settings: Sequence[NetworkSettings] = ()) -> None:
        self.names = (*(network.name for network in settings), *BUILT_IN_NETWORKS)
        self._settings = settings
        self.name_of = lru_cache(maxsize=REMEMBERED)(self._look_up)

    def _look_up(self, address: str) -> str:
        for network in self._settings:
            if is_within(address, network.addresses):
                return network.name
        parsed = ip_address(address)
        if parsed.is_loopback:
            return "loopback"
        return "public" if parsed.is_global else "private"
