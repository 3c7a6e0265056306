"""Asking the provider about each token (RFC 7662), for tokens that say nothing by themselves."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import trio

from gatepost.backends.asking import Meter
from gatepost.backends.cache import Cache
from gatepost.backends.claims import find_holder, presentable
from gatepost.backends.flight import Flights
from gatepost.backends.web import Client, Endpoint
from gatepost.sasl.questions import Holder
from gatepost.sasl.secret import Secret
from gatepost.settings import TokenSettings

REMEMBER_SECONDS = 30.0  # how long a revoked token may still open a conversation
REMEMBER_BAD_SECONDS = 5.0  # how long a token that was just made good may still be refused
REMEMBERED = 10_000  # of good ones, and as many bad ones

# RFC 7662 section 2.2 has the types of RFC 6749 section 5.1, so "Bearer"; some providers tell the kind instead. What is
# called anything else is no access token (Keycloak: "Refresh", "ID"), or good only with a proof ("DPoP").
TYPES = {"bearer", "access_token"}


@dataclass(frozen=True, slots=True)
class Introspection:
    """The provider, who gatepost is to it, and how it answers."""

    endpoint: Endpoint
    client: Client
    meter: Meter

    async def ask(self, token: Secret) -> dict[str, Any]:
        """What the provider says of a token. Raises NoAnswer."""
        form: dict[str, str | Secret] = {"token": token, "token_type_hint": "access_token"}
        with self.meter.asking():
            return (await self.endpoint.post(form, self.client)).require()


class IntrospectionCheck:
    """Answers are remembered shortly: mail programs open several connections at once, and try again soon.

    There are as many bad tokens as a stranger likes, so they have a memory of their own, in which they displace no good
    one. What is remembered is a keyed hash: memory holds no token, and how long a search takes says nothing about one.
    """

    def __init__(
        self, settings: TokenSettings, provider: Introspection, now: Callable[[], float], nursery: trio.Nursery
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._now = now
        self._key = secrets.token_bytes(32)
        self._flights: Flights[bytes, Holder | None] = Flights(nursery)
        self._good: Cache[bytes, tuple[Holder, float]] = Cache(REMEMBERED)
        self._bad: Cache[bytes, bool] = Cache(REMEMBERED)

    async def check(self, token: Secret) -> Holder | None:
        """Whom the token is for; None: it is not valid. Raises NoAnswer."""
        if not presentable(token):
            return None
        digest = hmac.digest(self._key, token.reveal(), hashlib.sha256)
        remembered = self._good.get(digest)
        if remembered is not None:
            self._provider.meter.cached()
            holder, then = remembered
            return _later(holder, trio.current_time() - then)
        if self._bad.get(digest):
            self._provider.meter.cached()
            return None
        return await self._flights.join(digest, partial(self._ask, digest, token))

    async def _ask(self, digest: bytes, token: Secret) -> Holder | None:
        claims = await self._provider.ask(token)
        found = find_holder(claims, self._settings, self._now()) if _is_active_access_token(claims) else None
        if found is None:
            self._bad.put(digest, value=True, seconds=REMEMBER_BAD_SECONDS)
            return None
        seconds = REMEMBER_SECONDS if found.seconds is None else min(REMEMBER_SECONDS, found.seconds)
        self._good.put(digest, (found, trio.current_time()), seconds)
        return found


def _is_active_access_token(claims: Mapping[str, Any]) -> bool:
    kind = claims.get("token_type", "Bearer")
    return claims.get("active") is True and isinstance(kind, str) and kind.lower() in TYPES


def _later(holder: Holder, seconds: float) -> Holder:
    return holder if holder.seconds is None else replace(holder, seconds=holder.seconds - seconds)
