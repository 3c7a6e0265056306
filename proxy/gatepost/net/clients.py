"""The client's leg: its handshake, and who its certificate says it is (for EXTERNAL, RFC 4422 appendix A)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import NameOID

from gatepost.facts import Tls
from gatepost.net.channel import Channel
from gatepost.sasl.exchange import LONGEST_NAME_BYTES
from gatepost.settings import ClientIdentity


class ClientSide:
    """How clients of a listener are secured, and known."""

    def __init__(self, context: ssl.SSLContext, identity: ClientIdentity) -> None:
        self._context = context
        self._identity = identity

    async def secure(self, channel: Channel) -> Tls:
        """Raises HandshakeError, Woken."""
        tls = await channel.secure(self._context, server_side=True)
        certificate = channel.peer_certificate() if tls.verified else None
        return tls if certificate is None else replace(tls, identity=identity_of(certificate, self._identity))


def identity_of(certificate: bytes, kind: ClientIdentity) -> str:
    """The one login that a DER certificate carries; "" when it carries none, several, or an odd one."""
    try:
        names = _NAMES[kind](x509.load_der_x509_certificate(certificate))
    except Exception:  # noqa: BLE001  cryptography has errors of its own for odd certificates: they prove nothing
        return ""
    good = len(names) == 1 and names[0].isprintable() and len(names[0].encode()) <= LONGEST_NAME_BYTES
    return names[0] if good else ""


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


_NAMES: dict[ClientIdentity, Callable[[x509.Certificate], Sequence[str]]] = {
    ClientIdentity.EMAIL: lambda leaf: _alternatives(leaf).get_values_for_type(x509.RFC822Name),
    ClientIdentity.DNS: lambda leaf: _alternatives(leaf).get_values_for_type(x509.DNSName),
    ClientIdentity.COMMON_NAME: lambda leaf: [
        str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ],
}
