"""Asking the provider about each token (RFC 7662), for tokens that say nothing by themselves."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import replace

import trio

from gatepost.backends.asking import Meter
from gatepost.backends.cache import Cache
from gatepost.backends.claims import find_holder, presentable
from gatepost.backends.web import Client, Endpoint
from gatepost.sasl.questions import Holder
from gatepost.sasl.secret import Secret
from gatepost.settings import TokenSettings

REMEMBER_SECONDS = 30.0  # how long a revoked token may still open a conversation
REMEMBERED = 10_000


class IntrospectionCheck:
    """Good tokens are remembered shortly, because mail programs open several connections at once.

    Bad ones are not: there are as many of them as an attacker likes. What is remembered is a keyed hash, so memory
    holds no token, and how long a search takes says nothing about one.
    """

    def __init__(
        self, settings: TokenSettings, endpoint: Endpoint, meter: Meter, *, client: Client, now: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._meter = meter
        self._client = client
        self._now = now
        self._key = secrets.token_bytes(32)
        self._good: Cache[bytes, tuple[Holder, float]] = Cache(REMEMBERED)

    async def check(self, token: Secret) -> Holder | None:
        """Whom the token is for; None: it is not valid. Raises NoAnswer."""
        if not presentable(token):
            return None
        digest = hmac.digest(self._key, token.reveal(), hashlib.sha256)
        remembered = self._good.get(digest)
        if remembered is not None:
            self._meter.cached()
            holder, then = remembered
            return _later(holder, trio.current_time() - then)
        found = await self._ask(token)
        if found is not None:
            seconds = REMEMBER_SECONDS if found.seconds is None else min(REMEMBER_SECONDS, found.seconds)
            self._good.put(digest, (found, trio.current_time()), seconds)
        return found

    async def _ask(self, token: Secret) -> Holder | None:
        with self._meter.asking():
            reply = await self._endpoint.post({"token": token, "token_type_hint": "access_token"}, self._client)
            claims = reply.require()
        if claims.get("active") is not True:
            return None
        return find_holder(claims, self._settings, self._now())


def _later(holder: Holder, seconds: float) -> Holder:
    return holder if holder.seconds is None else replace(holder, seconds=holder.seconds - seconds)
