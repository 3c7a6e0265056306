"""A folder with a certificate, its key and its authority, and the minimal settings file to change."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from gatepost.settings import Settings, SettingsError, load

MINIMAL = """
[upstream]
address = "127.0.0.1:2525"
tls = "never"

[tls]
certificate = "cert.pem"
key = "key.pem"

[[listeners]]
name = "submission"
bind = ["127.0.0.1:5587"]
tls = "starttls"

[[listeners]]
name = "submissions"
bind = ["127.0.0.1:5465"]
tls = "implicit"

[observe]
bind = "127.0.0.1:9587"
"""
PIN = "sha256/" + base64.b64encode(bytes(32)).decode()


@dataclass(frozen=True)
class Folder:
    """A folder with a certificate, its key and its authority; settings files are written into it."""

    path: Path

    def load(self, text: str) -> Settings:
        file = self.path / "gatepost.toml"
        file.write_text(text)
        return load(file)

    def complaints(self, text: str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load(text)
        return [str(problem).replace(f"{self.path}/", "") for problem in caught.value.problems]


AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("mail.example.org")
OTHER_KEY = trustme.CA().issue_cert("other.example.org").private_key_pem.bytes()


def fill(path: Path) -> None:
    (path / "cert.pem").write_bytes(ISSUED.cert_chain_pems[0].bytes())
    (path / "key.pem").write_bytes(ISSUED.private_key_pem.bytes())
    (path / "ca.pem").write_bytes(AUTHORITY.cert_pem.bytes())


def changed(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)


def upstream(*lines: str) -> str:
    """The minimal file with this `[upstream]`."""
    return changed('address = "127.0.0.1:2525"\ntls = "never"', "\n".join(lines))


def encrypt_key(private_format: PrivateFormat) -> bytes:
    """The issued key with a passphrase."""
    key = load_pem_private_key(ISSUED.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, private_format, BestAvailableEncryption(b"hunter2"))


def write_pair(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, begin: datetime, *, days: int) -> None:
    """A certificate that signs itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.org")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=days))
    (path / "cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (path / "key.pem").write_bytes(plain)
