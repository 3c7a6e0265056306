"""Whether certificate, key and authority files can be used. Says what is wrong with a file, never what is in it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gatepost.settings.files import read_file
from gatepost.settings.problems import Problem, quote

_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED|4,ENCRYPTED")  # the PEM label (RFC 7468 section 11), the older Proc-Type


def check_pair(table: str, certificate: Path | None, key: Path | None) -> Iterator[Problem]:
    """Find what is wrong with a certificate and its key, of which either may be unknown, in the table `table`."""
    chain = _read_certificate(f"{table}.certificate", certificate) if certificate else None
    secret = _read_key(f"{table}.key", key) if key else None
    if isinstance(chain, Problem):
        yield chain
    if isinstance(secret, Problem):
        yield secret
    if certificate is None or key is None or isinstance(chain, Problem | None) or isinstance(secret, Problem | None):
        return
    if not _belongs(secret, chain):
        yield Problem(f"{table}.key", f"the key of another certificate in {quote(str(key))}", "the certificate's own")
        return
    yield from _try_pair(f"{table}.certificate", certificate, key)


def check_authorities(key: str, path: Path) -> Iterator[Problem]:
    """Find what is wrong with a file of certificate authorities."""
    content = read_file(key, path)
    if isinstance(content, Problem):
        yield content
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError:  # ssl.SSLError is one
        yield Problem(key, f"no certificates in {quote(str(path))}", "PEM certificates of authorities")


def _read_certificate(key: str, path: Path) -> x509.Certificate | Problem:
    content = read_file(key, path)
    if isinstance(content, Problem):
        return content
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except ValueError:
        return Problem(key, f"no PEM certificate in {quote(str(path))}", "a certificate, then its intermediates")


def _read_key(key: str, path: Path) -> PrivateKeyTypes | Problem:
    content = read_file(key, path)
    if isinstance(content, Problem):
        return content
    if _ENCRYPTED.search(content):
        return Problem(key, f"a key with a passphrase in {quote(str(path))}", "a key without a passphrase")
    try:
        return load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Problem(key, f"no PEM private key in {quote(str(path))}", "an unencrypted private key")


def _belongs(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(*form) == public.public_bytes(*form)


def _try_pair(key: str, certificate: Path, private: Path) -> Iterator[Problem]:
    """OpenSSL has the last word: it also refuses keys and signatures that are too weak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, private, password="")  # never ask a terminal for one
    except OSError as error:
        reason = getattr(error, "reason", None) or "it cannot be read"
        yield Problem(key, f"{quote(str(certificate))}, which TLS cannot use ({reason})", "a usable certificate")
