"""Tokens that clients present (RFC 6750): checked by their signature, or by asking the provider.

JWTs after RFC 7519 and RFC 8725. PyJWT verifies the signature, by a key and an algorithm that are chosen here; claims
are looked at in `claims.py`, because PyJWT has a clock of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import jwt
import trio

from gatepost.backends.asking import Meter, Record
from gatepost.backends.claims import find_holder, presentable
from gatepost.backends.introspection import Introspection, IntrospectionCheck
from gatepost.backends.keys import FetchedKeys, FileKeys, Keys
from gatepost.backends.web import Client, Endpoint
from gatepost.facts import Backend
from gatepost.sasl.questions import Holder
from gatepost.sasl.secret import Secret
from gatepost.settings import TokenSettings

# RFC 9068 section 2.1 types access tokens, and most providers still say JWT or nothing. Every other type is another
# kind of token (logout+jwt, dpop+jwt, secevent+jwt ...), signed with the same keys for another purpose: RFC 8725
# section 3.11. So types are listed that are good, not those that are bad, of which there will be more.
TYPES = {"jwt", "at+jwt"}


class TokenCheck(Protocol):
    """Tells whom a token is for."""

    async def check(self, token: Secret) -> Holder | None:
        """Whom the token is for; None: it is not valid. Raises NoAnswer."""


class JwtCheck:
    """Tokens that say who they are for, signed by the provider."""

    def __init__(self, settings: TokenSettings, keys: Keys, now: Callable[[], float]) -> None:
        self._settings = settings
        self._keys = keys
        self._now = now
        self._jws = jwt.PyJWS(settings.algorithms)

    async def check(self, token: Secret) -> Holder | None:
        header = self._header(token)
        if header is None:
            return None
        for key in await self._keys.find(header.get("kid"), header["alg"]):
            claims = self._verified(token, key.key)
            if claims is not None:
                return find_holder(claims, self._settings, self._now()) if "exp" in claims else None
        return None

    def _header(self, token: Secret) -> dict[str, Any] | None:
        """The header of a token that is worth a look at its signature."""
        if not presentable(token):
            return None
        try:
            header = self._jws.get_unverified_header(token.reveal())
        except jwt.PyJWTError:
            return None
        kind = header.get("typ", "JWT")
        good = (
            header.get("alg") in self._settings.algorithms
            and "crit" not in header  # RFC 7515 section 4.1.11: none of its extensions is understood here
            and isinstance(kind, str)
            and kind.lower().removeprefix("application/") in TYPES  # RFC 7515 section 4.1.9
        )
        return header if good else None

    def _verified(self, token: Secret, key: jwt.PyJWK) -> dict[str, Any] | None:
        try:
            content = self._jws.decode_complete(token.reveal(), key, [key.algorithm_name])
            claims = json.loads(content["payload"])
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        return claims if isinstance(claims, dict) else None


@asynccontextmanager
async def token_check(
    settings: TokenSettings, record: Record, now: Callable[[], float] = time.time
) -> AsyncIterator[TokenCheck]:
    """The check that the settings ask for, while it is entered. `now` is the wall clock.

    Raises ValueError for settings that cannot be used, and OSError for files that cannot be read.
    """
    if settings.introspection_url is not None:
        client = Client.load(settings.client_id, settings.client_secret_file)
        async with Endpoint(settings.introspection_url, settings.ca) as endpoint, trio.open_nursery() as nursery:
            provider = Introspection(endpoint, client, Meter(Backend.INTROSPECTION, record))
            yield IntrospectionCheck(settings, provider, now, nursery)
            nursery.cancel_scope.cancel()
        return
    async with _keys(settings, record) as keys:
        yield JwtCheck(settings, keys, now)


@asynccontextmanager
async def _keys(settings: TokenSettings, record: Record) -> AsyncIterator[Keys]:
    if not settings.issuer or not settings.audience:  # a token for someone else would be good here
        raise ValueError("JWTs need an issuer and an audience to be checked against")
    meter = Meter(Backend.KEYS, record)
    if settings.jwks_file is not None:
        yield FileKeys(settings.jwks_file, settings.algorithms, meter)
    elif settings.jwks_url is not None:
        async with Endpoint(settings.jwks_url, settings.ca) as endpoint, trio.open_nursery() as nursery:
            keys = FetchedKeys(endpoint, settings.algorithms, meter, nursery)
            nursery.start_soon(keys.keep_fresh)
            yield keys
            nursery.cancel_scope.cancel()
    else:
        raise ValueError("neither keys nor introspection are set")
