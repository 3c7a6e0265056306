"""CRAM-MD5 (RFC 2195): the password keys a hash of the server's challenge. The server must have the password itself."""

from __future__ import annotations

import re
from hmac import compare_digest, digest

from gatepost.facts import AuthResult
from gatepost.sasl.exchange import (
    ClientExchange,
    Denied,
    Malformed,
    Password,
    Proven,
    ServerExchange,
    Unproven,
    read_name,
)
from gatepost.sasl.prepare import prepare_name
from gatepost.sasl.questions import FindPassword, Nonce, ask
from gatepost.sasl.secret import Secret

_DIGEST = re.compile(rb"[0-9a-f]{32}")


def cram_md5(hostname: str) -> ServerExchange:
    nonce = yield from ask(Nonce())
    challenge = b"<%b@%b>" % (nonce, hostname.encode())
    user, proof = _split((yield challenge))
    secret = yield from ask(FindPassword(user))
    if compare_digest(proof, _digest(secret, challenge)):
        return Proven(user)
    return Denied(AuthResult.REJECTED, user)


def cram_md5_client(password: Password) -> ClientExchange:
    """It cannot say whom to act as, and learns nothing of the server."""
    challenge = yield None
    if challenge is None:
        raise Unproven  # it was shown nothing
    yield b"%b %b" % (password.authcid.encode(), _digest(password.secret, challenge))


def _split(response: bytes) -> tuple[str, bytes]:
    """A name may have spaces, so the last one divides."""
    user, _, proof = response.rpartition(b" ")
    if not _DIGEST.fullmatch(proof):
        raise Malformed("no digest")
    return prepare_name(read_name(user)), proof


def _digest(secret: Secret, challenge: bytes) -> bytes:
    return digest(secret.reveal(), challenge, "md5").hex().encode()
