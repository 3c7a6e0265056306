"""The throw-away certificate verifies against its authority, for its names and for no other."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from gatepost.demo.certificates import NAME, write_certificates


def shake_hands(folder: Path, ca: Path, name: str) -> str | None:
    """A handshake in memory with verification; the version that was agreed on. Raises ssl.SSLError."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    client_context = ssl.create_default_context(cafile=ca)
    client_context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT  # the default of later Python versions
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname=name)
    server = server_context.wrap_bio(up, down, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
        if len(done) == 2:
            return client.version()
    raise AssertionError("the handshake did not end")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", NAME])
def test_it_verifies_for_each_of_its_names(tmp_path: Path, name: str) -> None:
    files = write_certificates(tmp_path)
    assert shake_hands(tmp_path, files.ca, name) == "TLSv1.3"


def test_it_does_not_verify_for_another_name(tmp_path: Path) -> None:
    files = write_certificates(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(tmp_path, files.ca, "other.example")


def test_it_does_not_verify_against_another_authority(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = write_certificates(elsewhere)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, other.ca, "localhost")


def test_the_files_are_what_they_should_be(tmp_path: Path) -> None:
    files = write_certificates(tmp_path)
    assert (files.ca, files.certificate, files.key) == tuple(tmp_path / f"{name}.pem" for name in ("ca", "cert", "key"))
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" not in files.ca.read_bytes() + files.certificate.read_bytes()
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert certificate.not_valid_before_utc < datetime.now(UTC) < certificate.not_valid_after_utc
    assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=8)
