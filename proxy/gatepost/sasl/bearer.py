"""XOAUTH2 (Google's) and OAUTHBEARER (RFC 7628): a token of OAuth 2.0 in place of a password.

A refused token is told in a challenge of JSON, which the client answers with nothing to say; then comes 535. Whoever
judges the token sends that challenge, which `failure` makes.
"""

from __future__ import annotations

import json
import re

from gatepost.facts import AuthResult, Mechanism
from gatepost.sasl.exchange import Bearer, ClientExchange, Denied, Malformed, ServerExchange, read_name
from gatepost.sasl.scram import gs2_header, split_gs2
from gatepost.sasl.secret import Secret

MAXIMUM_TOKEN_BYTES = 8192  # what fits, with a name, into a line of 12288 octets (RFC 4954 section 4)

_PAIRS = re.compile(rb"(?:[A-Za-z]+=[^\0\x01]*\x01)*\x01")
_PAIR = re.compile(rb"([A-Za-z]+)=([^\0\x01]*)\x01")
# RFC 6750 section 2.1; the scheme in any case, as RFC 7628 section 3.1 has it from HTTP.
_CREDENTIALS = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")

_STATUS = {
    Mechanism.OAUTHBEARER: {"status": "invalid_token"},  # RFC 7628 section 3.2.2
    Mechanism.XOAUTH2: {"status": "401", "schemes": "bearer"},
}


def xoauth2() -> ServerExchange:
    """One response: "user=" user ^A "auth=Bearer " token ^A ^A."""
    pairs = _read_pairs((yield b""))
    return Bearer(read_name(pairs.get(b"user", b"")), _token(pairs))


def oauthbearer(scope: str = "") -> ServerExchange:
    """One response: a GS2 header, then ^A, then pairs; those for other schemes (host, port) mean nothing here."""
    header, _, rest = (yield b"").partition(b"\1")
    _, user, extra = split_gs2(header)
    if extra:
        raise Malformed("more than a GS2 header")
    pairs = _read_pairs(rest)
    if pairs.get(b"auth") == b"":  # so a client asks what a token must be for (section 4.3)
        yield failure(Mechanism.OAUTHBEARER, scope)
        return Denied(AuthResult.CANCELLED, user)
    return Bearer(user, _token(pairs))


def failure(mechanism: Mechanism, scope: str) -> bytes:
    """The challenge that tells a client that its token is refused, and the scope that a good one must have."""
    told = _STATUS[mechanism] | ({"scope": scope} if scope else {})
    return json.dumps(told, separators=(",", ":")).encode()


def xoauth2_client(bearer: Bearer) -> ClientExchange:
    """The user must be named."""
    refused = yield b"user=%b\1%b" % (_name(bearer.user).encode(), _auth(bearer.token))
    if refused is not None:
        yield b""


def oauthbearer_client(bearer: Bearer) -> ClientExchange:
    refused = yield b"%b\1%b" % (gs2_header(_name(bearer.user)), _auth(bearer.token))
    if refused is not None:
        yield b"\1"


def _name(user: str) -> str:
    """Neither mechanism can escape ^A: what follows it would be read as a pair. Raises Malformed."""
    if "\1" in user:
        raise Malformed("a name with ^A")
    return user


def _auth(token: Secret) -> bytes:
    return b"auth=Bearer %b\1\1" % token.reveal()


def _read_pairs(message: bytes) -> dict[bytes, bytes]:
    pairs = _PAIR.findall(message) if _PAIRS.fullmatch(message) else []
    if not pairs or len(dict(pairs)) < len(pairs):
        raise Malformed("no pairs, or one of them twice")
    return dict(pairs)


def _token(pairs: dict[bytes, bytes]) -> Secret:
    credentials = _CREDENTIALS.fullmatch(pairs.get(b"auth", b""))
    if not credentials or len(credentials[1]) > MAXIMUM_TOKEN_BYTES:
        raise Malformed("no bearer token")
    return Secret(credentials[1])
