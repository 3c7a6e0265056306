"""EXTERNAL (RFC 4422 appendix A): the certificate that the client showed in its TLS handshake is the proof."""

from __future__ import annotations

from gatepost.facts import AuthResult
from gatepost.sasl.exchange import ClientExchange, Denied, Proven, ServerExchange, text


def external(certificate: str) -> ServerExchange:
    """One response, whom to act as. A certificate speaks for the one login that it names; "" is no certificate."""
    response = yield b""
    authzid = text(response) if response else ""
    if certificate and authzid in ("", certificate):
        return Proven(certificate)
    return Denied(AuthResult.REJECTED, authzid)


def external_client(authzid: str) -> ClientExchange:
    yield authzid.encode()
