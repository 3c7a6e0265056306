"""What a valid token says (RFC 7519 section 4.1), whether in a JWT or in an answer to introspection (RFC 7662)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from gatepost.sasl.questions import Holder
from gatepost.sasl.secret import Secret
from gatepost.settings import TokenSettings

LEEWAY_SECONDS = 30.0  # RFC 7519 section 4.1.4: "usually no more than a few minutes", for clocks that differ
TOKEN_BYTES = 16 * 1024  # before it is parsed; more than fits into an AUTH exchange (RFC 4954 section 4: 12,288 octets)
USER_CHARACTERS = 255

_B64TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1


def presentable(token: Secret) -> bool:
    """Whether it has the form of a bearer token: nothing else can be presented by OAUTHBEARER or asked about."""
    octets = token.reveal()
    return len(octets) <= TOKEN_BYTES and _B64TOKEN.fullmatch(octets) is not None


def find_holder(claims: Mapping[str, Any], settings: TokenSettings, now: float) -> Holder | None:
    """Whom a token is for whose claims are the provider's; None: it is not good here, or not now.

    A token with `cnf` is only good together with a proof (RFC 7800, RFC 9449), which SASL does not carry.
    """
    expiry = read_number(claims.get("exp"))
    good = (
        _is_now(claims, expiry, now)
        and (expiry is not None or "exp" not in claims)
        and (not settings.issuer or claims.get("iss") == settings.issuer)
        and (not settings.audience or _has_audience(claims.get("aud"), settings.audience))
        and (not settings.scope or settings.scope in _scopes(claims))
        and "cnf" not in claims
    )
    user = _user(claims, settings.user_claim)
    if not good or user is None:
        return None
    return Holder(user, None if expiry is None else _seconds_left(expiry, now))


def read_number(value: object) -> float | None:
    """A NumericDate (RFC 7519 section 2); None when it is something else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _is_now(claims: Mapping[str, Any], expiry: float | None, now: float) -> bool:
    begins = [read_number(claims[name]) for name in ("iat", "nbf") if name in claims]
    begun = all(begin is not None and begin <= now + LEEWAY_SECONDS for begin in begins)
    return begun and (expiry is None or now < expiry + LEEWAY_SECONDS)


def _seconds_left(expiry: float, now: float) -> float:
    """What the leeway let in lasts as long as the leeway; it would be of no use otherwise."""
    left = expiry - now
    return left if left > 0 else left + LEEWAY_SECONDS


def _has_audience(value: object, audience: str) -> bool:
    return value == audience or (isinstance(value, list) and audience in value)


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """`scope` is one text of words (RFC 8693 section 4.2); `scp` is what others call it, a text or a list."""
    words: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        if isinstance(value, str):
            words.update(value.split(" "))
        elif isinstance(value, list):
            words.update(word for word in value if isinstance(word, str))
    return words


def _user(claims: Mapping[str, Any], name: str) -> str | None:
    """The login. Control characters and lone surrogates, which JSON can write, are not printable."""
    user = claims.get(name)
    if not isinstance(user, str) or not 0 < len(user) <= USER_CHARACTERS or not user.isprintable():
        return None
    if name == "email" and not _is_true(claims.get("email_verified", True)):
        return None  # OpenID Connect Core section 5.1: anyone may have claimed the address
    return user


def _is_true(value: object) -> bool:
    """Some providers write it as a text."""
    return value is True or value == "true"
