"""Login names in the log: as they are, as a keyed hash that tells equal ones from others, or not at all."""

from __future__ import annotations

import hmac
import os
from functools import lru_cache

from gatepost.facts import Channel
from gatepost.settings import LogLogins, LogSettings
from gatepost.settings.files import strip_newline

HASH_CHARACTERS = 16  # 64 bits: enough to tell the users of one site apart
REMEMBERED = 1024  # names


class Logins:
    """By what channel a name came is what decides. Raises OSError when the key cannot be read."""

    def __init__(self, settings: LogSettings) -> None:
        self._ways = {Channel.TLS: settings.logins, Channel.CLEAR: settings.clear_logins}
        file = settings.hash_key_file
        self._key = os.urandom(32) if file is None else strip_newline(file.read_bytes())
        self._hash = lru_cache(maxsize=REMEMBERED)(self._digest)

    def fields(self, channel: Channel, user: str) -> dict[str, str]:
        """What a log event has of a login name."""
        way = self._ways[channel]
        if not user or way is LogLogins.NONE:
            return {}
        return {"user.name": user} if way is LogLogins.PLAIN else {"user.hash": self._hash(user)}

    def _digest(self, user: str) -> str:
        """However it is written: the same user is the same hash."""
        return hmac.digest(self._key, user.casefold().encode(), "sha256").hex()[:HASH_CHARACTERS]
