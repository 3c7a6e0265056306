"""TLS on both legs: contexts from settings, what a handshake agreed on, and why one failed.

Profiles follow Mozilla's recommendations (version 5.7) as far as the stdlib can express them. Channel binding is not
offered: the stdlib has no exporter, so no -PLUS mechanism can be (RFC 9266).
"""

from __future__ import annotations

import hashlib
import ssl
import warnings
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.facts import CertificateLoaded, CipherClass, HandshakeFailure, Leg, Tls
from gatepost.settings import TlsProfile, TlsSettings, UpstreamSettings, UpstreamTls
from gatepost.settings.files import Look, look_at

_CIPHERS = {
    TlsProfile.INTERMEDIATE: "ECDHE+AESGCM:ECDHE+CHACHA20",
    TlsProfile.OLD: "DEFAULT:@SECLEVEL=0",  # OpenSSL 3 needs the level lowered for TLS 1.0 and 1.1
}
_MINIMUM = {
    TlsProfile.MODERN: ssl.TLSVersion.TLSv1_3,
    TlsProfile.INTERMEDIATE: ssl.TLSVersion.TLSv1_2,
    TlsProfile.OLD: ssl.TLSVersion.TLSv1,
}


class HandshakeError(Exception):
    """A handshake failed, for a reason of the closed list."""

    def __init__(self, reason: HandshakeFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason


_AEAD = ("GCM", "CHACHA20", "CCM")
_WEAK = ("RC4", "DES", "NULL", "EXP", "ADH", "AECDH", "MD5", "IDEA", "SEED", "RC2")

# --- outcomes --------------------------------------------------------------------------------------------------------

_REASONS = {
    "NO_SHARED_CIPHER": HandshakeFailure.NO_SHARED_CIPHER,
    "NO_CIPHERS_AVAILABLE": HandshakeFailure.NO_SHARED_CIPHER,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": HandshakeFailure.NO_SHARED_CIPHER,
    "UNSUPPORTED_PROTOCOL": HandshakeFailure.UNSUPPORTED_VERSION,
    "VERSION_TOO_LOW": HandshakeFailure.UNSUPPORTED_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": HandshakeFailure.UNSUPPORTED_VERSION,
    "WRONG_VERSION_NUMBER": HandshakeFailure.NOT_TLS,
    "HTTP_REQUEST": HandshakeFailure.NOT_TLS,
    "HTTPS_PROXY_REQUEST": HandshakeFailure.NOT_TLS,
    "UNEXPECTED_MESSAGE": HandshakeFailure.NOT_TLS,
    "CERTIFICATE_VERIFY_FAILED": HandshakeFailure.BAD_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": HandshakeFailure.BAD_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": HandshakeFailure.BAD_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": HandshakeFailure.BAD_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": HandshakeFailure.BAD_CERTIFICATE,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": HandshakeFailure.NO_CERTIFICATE,
    "UNEXPECTED_EOF_WHILE_READING": HandshakeFailure.PEER_CLOSED,
}


def failure(error: ssl.SSLError) -> HandshakeFailure:
    """The reason behind an error of the stdlib."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return HandshakeFailure.PEER_CLOSED
    return _REASONS.get(error.reason or "", HandshakeFailure.OTHER)


@lru_cache(maxsize=256)
def strength(cipher: str) -> CipherClass:
    """The class of a cipher suite, by OpenSSL's name for it."""
    if cipher.startswith("TLS_"):  # of TLS 1.3
        return CipherClass.AEAD
    if not cipher or any(word in cipher for word in _WEAK):
        return CipherClass.WEAK
    if not cipher.startswith(("ECDHE-", "DHE-")):
        return CipherClass.STATIC_KEY
    return CipherClass.AEAD if any(word in cipher for word in _AEAD) else CipherClass.CBC


def agreed(tls: ssl.SSLObject) -> Tls:
    """What a finished handshake agreed on. `verified` means that the peer's certificate was."""
    cipher = tls.cipher()
    name = cipher[0] if cipher else ""
    asked = tls.context.verify_mode
    return Tls(
        version=tls.version() or "",
        cipher=name,
        strength=strength(name),
        resumed=bool(tls.session_reused),
        verified=asked is ssl.CERT_REQUIRED or (asked is ssl.CERT_OPTIONAL and bool(tls.getpeercert(binary_form=True))),
    )


# --- clients ---------------------------------------------------------------------------------------------------------


def _context(protocol: int, profile: TlsProfile) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # `old` is what the operator asked for
        context.minimum_version = _MINIMUM[profile]
    if profile in _CIPHERS:
        context.set_ciphers(_CIPHERS[profile])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _server_context(profile: TlsProfile, certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_SERVER, profile)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["smtp"])
    context.num_tickets = 1  # OpenSSL makes two, for clients that open connections in pairs; making one costs 30 us
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _names(certificate: Path) -> tuple[x509.Certificate, list[str]]:
    """The leaf of a PEM file and the DNS names it carries."""
    leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return leaf, []
    return leaf, [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]


@dataclass(frozen=True, slots=True)
class Generation:
    """One consistent set of loaded certificate files."""

    contexts: dict[TlsProfile, ssl.SSLContext]
    loaded: tuple[CertificateLoaded, ...]

    @classmethod
    def load(cls, settings: TlsSettings) -> Generation:
        """Raises OSError (ssl.SSLError among them) or ValueError when any file of the set is bad."""
        try:
            return cls._load(settings)
        except (OSError, ValueError):
            raise
        except Exception as error:  # noqa: BLE001  cryptography has errors of its own for odd certificates
            raise ValueError(str(error)) from None

    @classmethod
    def _load(cls, settings: TlsSettings) -> Generation:
        pairs = [(settings.certificate, settings.key)]
        pairs += [(more.certificate, more.key) for more in settings.certificates]
        contexts: dict[TlsProfile, ssl.SSLContext] = {}
        for profile in TlsProfile:
            by_name: dict[str, ssl.SSLContext] = {}
            for certificate, key in reversed(pairs):  # the first certificate that carries a name has it
                contexts[profile] = _server_context(profile, certificate, key, settings.client_ca)
                by_name |= dict.fromkeys(_names(certificate)[1], contexts[profile])
            if settings.certificates:
                _choose_by_name(contexts[profile], by_name)
        return cls(contexts, tuple(loaded(Leg.CLIENT, certificate) for certificate, _ in pairs))


def loaded(leg: Leg, certificate: Path) -> CertificateLoaded:
    """Raises OSError or ValueError."""
    leaf, names = _names(certificate)
    return CertificateLoaded(leg, str(certificate), tuple(names), leaf.not_valid_after_utc.timestamp())


def _choose_by_name(default: ssl.SSLContext, by_name: dict[str, ssl.SSLContext]) -> None:
    """SNI (RFC 6066 section 3): the certificate for the name asked for, exactly or by a wildcard, else the first."""

    def choose(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        wanted = (name or "").lower()
        chosen = by_name.get(wanted) or by_name.get("*." + wanted.partition(".")[2])
        if chosen is not None:
            tls.context = chosen

    default.sni_callback = choose


class Certificates:
    """The generation in use, and whether the files have changed since."""

    def __init__(self, settings: TlsSettings) -> None:
        self.identity = settings.client_identity
        self._settings = settings
        self._seen = self._signature()
        self.generation = Generation.load(settings)

    def context(self, profile: TlsProfile) -> ssl.SSLContext:
        return self.generation.contexts[profile]

    def reload(self) -> bool:
        """Look at the files; True: they changed and are in use. Raises as `Generation.load`; the old ones then stay."""
        signature = self._signature()
        if signature == self._seen:
            return False
        self.generation = Generation.load(self._settings)
        self._seen = signature
        return True

    def _signature(self) -> list[Look | None]:
        settings = self._settings
        files = [settings.certificate, settings.key, *([settings.client_ca] if settings.client_ca else [])]
        for more in settings.certificates:
            files += [more.certificate, more.key]
        return [look_at(file) for file in files]


# --- the upstream ----------------------------------------------------------------------------------------------------


def upstream_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """How the upstream is verified: by authority and name, by pins (see `pinned`), by both, or not at all."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, settings.profile)
    if settings.certificate is not None and settings.key is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    by_authority = settings.ca is not None or not settings.pins
    if settings.tls is UpstreamTls.OPPORTUNISTIC and settings.ca is None:
        by_authority = False  # RFC 7435: better than clear, and no proof of anything
    if not by_authority:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca is not None:
        context.load_verify_locations(settings.ca)
    else:
        context.load_default_certs()
    return context


@lru_cache(maxsize=16)
def expiry(certificate: bytes) -> float:
    """When a DER certificate expires, in seconds since the epoch; 0 when that cannot be read."""
    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except Exception:  # noqa: BLE001  it is for the dashboard; whether it is good, OpenSSL has decided
        return 0.0


def pinned(certificate: bytes, pins: tuple[str, ...]) -> bool:
    """Whether a DER certificate's SubjectPublicKeyInfo is one of "sha256/BASE64" (RFC 7469 section 2.4)."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception:  # noqa: BLE001  a key that cannot be read is none of the pinned ones
        return False
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return "sha256/" + b64encode(digest).decode() in pins
