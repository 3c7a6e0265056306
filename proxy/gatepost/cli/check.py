"""What `gatepost check` says of a good settings file: what it will do, and what deserves a second look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509

from gatepost.settings import Auth, CertificateSettings, ListenerSettings, ListenerTls, Settings, UpstreamTls

_SOON = timedelta(days=21)  # ACME clients renew 30 days ahead: three weeks left means that a renewal did not happen

_LISTENER_TLS = {
    ListenerTls.STARTTLS: "STARTTLS",
    ListenerTls.IMPLICIT: "TLS from the first byte",
}
_AUTH = {
    Auth.REQUIRED: "mail only after AUTH",
    Auth.OPTIONAL: "mail with or without AUTH",
    Auth.OFF: "mail without AUTH",
}
_UPSTREAM_TLS = {
    UpstreamTls.NEVER: "in the clear",
    UpstreamTls.OPPORTUNISTIC: "STARTTLS if it is offered",
    UpstreamTls.STARTTLS: "STARTTLS always",
    UpstreamTls.IMPLICIT: "TLS from the first byte",
}


def describe(settings: Settings) -> Iterator[str]:
    """Tell, a line at a time, what these settings do; then a "warning: ..." line for each doubtful thing."""
    for listener in settings.listeners:
        yield _describe_listener(listener)
    yield f"upstream {settings.upstream.address}: {_UPSTREAM_TLS[settings.upstream.tls]}"
    yield f"metrics and health: http://{settings.observe.bind}/metrics, /livez, /readyz"
    for warning in find_warnings(settings, datetime.now(UTC)):
        yield f"warning: {warning}"


def find_warnings(settings: Settings, now: datetime) -> Iterator[str]:
    """Find what is allowed but doubtful at this time."""
    pairs = (
        CertificateSettings(certificate=settings.tls.certificate, key=settings.tls.key),
        *settings.tls.certificates,
    )
    for pair in pairs:
        certificate = x509.load_pem_x509_certificates(pair.certificate.read_bytes())[0]
        trouble = _judge_validity(certificate, now)
        if trouble:
            yield f"{pair.certificate} {trouble}"
    bind = settings.observe.bind
    if not bind.loopback:
        yield f"metrics on {bind} can be read from other machines, without a password"


def _describe_listener(listener: ListenerSettings) -> str:
    where = ", ".join(map(str, listener.bind))
    return f"listener {listener.name} on {where}: {_LISTENER_TLS[listener.tls]}, {_AUTH[listener.auth]}"


def _judge_validity(certificate: x509.Certificate, now: datetime) -> str:
    """Say what is wrong with the dates of a certificate; nothing when they are good."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return f"is not valid before {begin:%Y-%m-%d %H:%M} UTC"
    if now > end:
        return f"expired on {end:%Y-%m-%d %H:%M} UTC"
    if end - now < _SOON:
        return f"expires in {(end - now).days} days"
    return ""
