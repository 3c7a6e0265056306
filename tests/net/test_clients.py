"""Who a client's certificate says it is."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from far import linked
from gatepost.net.clients import ClientSide, identity_of
from gatepost.settings import ClientIdentity

EMAIL, DNS, COMMON_NAME = ClientIdentity


def certificate(*alternatives: x509.GeneralName, common: tuple[str, ...] = ()) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


BOB = x509.RFC822Name("bob@example.com")


@pytest.mark.parametrize(
    ("shown", "kind", "identity"),
    [
        (certificate(BOB, common=("Bob",)), EMAIL, "bob@example.com"),
        (certificate(BOB, x509.DNSName("printer.example"), common=("Bob",)), DNS, "printer.example"),
        (certificate(BOB, common=("Bob",)), COMMON_NAME, "Bob"),
        (certificate(BOB, x509.RFC822Name("eve@example.com")), EMAIL, ""),  # two prove nothing
        (certificate(common=("Bob", "Eve")), COMMON_NAME, ""),
        (certificate(common=("Bob",)), EMAIL, ""),  # not by another way
        (certificate(x509.DNSName("a.example")), EMAIL, ""),
        (certificate(BOB), COMMON_NAME, ""),
        (certificate(common=("Bob\0Eve",)), COMMON_NAME, ""),
        (b"no certificate", EMAIL, ""),
    ],
)
def test_the_only_name_of_the_kind_that_is_set(shown: bytes, kind: ClientIdentity, identity: str) -> None:
    assert identity_of(shown, kind) == identity


@pytest.mark.parametrize("shows", [True, False])
async def test_a_client_is_known_by_a_certificate_that_was_verified(*, shows: bool) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.example").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_OPTIONAL
    client = ssl.create_default_context()
    client.check_hostname = False
    authority.configure_trust(client)
    if shows:
        authority.issue_cert("bob@example.com").configure_cert(client)
    async with linked() as (near, far):
        far.begin(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.shake_hands)
            tls = await ClientSide(server, EMAIL).secure(near)
    assert tls.verified is shows
    assert tls.identity == ("bob@example.com" if shows else "")
