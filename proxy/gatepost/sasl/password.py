"""PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login): mechanisms that hand over the password itself."""

from __future__ import annotations

from gatepost.sasl.exchange import ClientExchange, Malformed, Password, ServerExchange, read_name, text
from gatepost.sasl.secret import Secret


def _secret(octets: bytes) -> Secret:
    text(octets)
    return Secret(octets)


def plain() -> ServerExchange:
    """One response: [authzid] NUL authcid NUL passwd."""
    message = yield b""
    parts = message.split(b"\0")
    if len(parts) != 3:  # noqa: PLR2004
        raise Malformed("not three parts")
    authzid, authcid, passwd = parts
    return Password(read_name(authcid), read_name(authzid) if authzid else "", _secret(passwd))


def login() -> ServerExchange:
    """Two challenges; an initial response is the user name, as real clients send it."""
    user = yield b"Username:"
    secret = yield b"Password:"
    return Password(read_name(user), "", _secret(secret))


def plain_client(password: Password) -> ClientExchange:
    yield b"\0".join((password.authzid.encode(), password.authcid.encode(), password.secret.reveal()))


def login_client(password: Password) -> ClientExchange:
    """The challenges' texts vary among servers; their order does not."""
    yield None
    yield password.authcid.encode()
    yield password.secret.reveal()
