"""What `gatepost check` says of a good settings file: what it will do, and what deserves a second look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_IROTH
from urllib.parse import urlsplit

from cryptography import x509

from gatepost.facts import Mechanism
from gatepost.settings import (
    STRENGTH,
    Auth,
    CertificateSettings,
    ListenerSettings,
    ListenerTls,
    PolicySettings,
    Represent,
    Settings,
    TokenSettings,
    UpstreamTls,
    UsersSettings,
)
from gatepost.settings.ways import BEARER, Ways, keeps_apart, usable

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


_REPRESENT = {
    Represent.SECRET: "the user's own upstream secret is used",
    Represent.SERVICE: "the service account logs in for the user",
    Represent.XCLIENT: "the login is stated",
    Represent.TOKEN: "a token is obtained for the user",
    Represent.CERTIFICATE: "gatepost's certificate logs in for the user",
}


def describe(settings: Settings) -> Iterator[str]:
    """Tell, a line at a time, what these settings do; then a "warning: ..." line for each doubtful thing."""
    ways = Ways.of(settings)
    for listener in settings.listeners:
        yield _describe_listener(listener, ways)
    yield from _describe_ways(settings, ways)
    yield from map(_describe_policy, settings.policies)
    if settings.users is not None:
        yield _describe_users(settings.users)
    yield f"upstream {settings.upstream.address}: {_UPSTREAM_TLS[settings.upstream.tls]}"
    yield f"status, metrics and health: http://{settings.observe.bind}/ and /metrics, /livez, /readyz"
    for warning in find_warnings(settings, datetime.now(UTC)):
        yield f"warning: {warning}"


def find_warnings(settings: Settings, now: datetime) -> Iterator[str]:
    """Find what is allowed but doubtful at this time."""
    pairs = (
        CertificateSettings(certificate=settings.tls.certificate, key=settings.tls.key),
        *settings.tls.certificates,
    )
    certificates = [pair.certificate for pair in pairs]
    if settings.upstream.certificate is not None:
        certificates.append(settings.upstream.certificate)
    for path in certificates:
        trouble = _judge_validity(x509.load_pem_x509_certificates(path.read_bytes())[0], now)
        if trouble:
            yield f"{path} {trouble}"
    yield from _find_login_warnings(settings)
    for path in _secret_files(settings):
        if path.stat().st_mode & S_IROTH:
            yield f"{path} can be read by every user of this machine"
    bind = settings.observe.bind
    if not bind.loopback:
        yield f"status page and metrics on {bind} can be read from other machines, without a password"


def _find_login_warnings(settings: Settings) -> Iterator[str]:
    ways = Ways.of(settings)
    for listener in settings.listeners:
        mechanisms = _mechanisms(listener, ways)
        if listener.auth is Auth.REQUIRED and not mechanisms:
            yield f"listener {listener.name} demands AUTH, and no mechanism leads to the upstream"
        if Mechanism.CRAM_MD5 in mechanisms:
            yield f"listener {listener.name} takes CRAM-MD5: whoever reads an exchange can guess its password fast"
    yield from _find_shut_doors(settings, ways)
    template = settings.upstream.login_template
    if ways.represent is not None and not keeps_apart(template):
        becomes = template.replace("{local}", "root").replace("{domain}", "anything")
        yield f"upstream.login_template makes one user of several that are proven here: root@anything becomes {becomes}"
    if settings.upstream.represent is Represent.XCLIENT:
        yield "the upstream believes XCLIENT by gatepost's address alone: no other program may reach it from there"


def _find_shut_doors(settings: Settings, ways: Ways) -> Iterator[str]:
    """Find policies that shut out everybody whom they are for."""
    for policy in settings.policies:
        for listener in settings.listeners:
            mechanisms = _mechanisms(listener, ways)
            strongest = max((STRENGTH[one] for one in mechanisms), default=None)
            if policy.covers(listener) and strongest is not None and strongest < STRENGTH[policy.minimum]:
                yield f"{_describe_policy(policy)}: listener {listener.name} has nothing that strong"


def _secret_files(settings: Settings) -> list[Path]:
    """Without the users file: one that others can read is a mistake, and was found before."""
    tables = (settings.tokens, settings.oauth)
    places = (
        settings.upstream.service_password_file,
        *(table.client_secret_file for table in tables if table),
    )
    return [path for path in places if path is not None]


def _describe_listener(listener: ListenerSettings, ways: Ways) -> str:
    where = ", ".join(map(str, listener.bind))
    mechanisms = _mechanisms(listener, ways)
    by = f" by {_names(mechanisms)}" if mechanisms else ""
    return f"listener {listener.name} on {where}: {_LISTENER_TLS[listener.tls]}, {_AUTH[listener.auth]}{by}"


def _mechanisms(listener: ListenerSettings, ways: Ways) -> tuple[Mechanism, ...]:
    return () if listener.auth is Auth.OFF else usable(listener, ways)


def _describe_ways(settings: Settings, ways: Ways) -> Iterator[str]:
    """Tell how logins reach the upstream, one line for all mechanisms that take the same way."""
    taken = {one for listener in settings.listeners for one in _mechanisms(listener, ways)}
    lines: dict[str, list[Mechanism]] = {}
    for mechanism in STRENGTH:
        if mechanism in taken:
            lines.setdefault(_describe_way(mechanism, settings, ways), []).append(mechanism)
    for way, mechanisms in lines.items():
        yield f"{_names(mechanisms)}: {way}"


def _describe_way(mechanism: Mechanism, settings: Settings, ways: Ways) -> str:
    if mechanism in ways.relay:
        return "relayed to the upstream as it is"
    toward = ways.toward(mechanism)
    by = f"by the first of {_names(toward)} that the upstream offers" if len(toward) > 1 else f"by {_names(toward)}"
    if not ways.proves(mechanism) or ways.represent is None:
        return f"{'token' if mechanism in BEARER else 'password'} passed on {by}"
    represent = _REPRESENT[ways.represent]
    if settings.oauth is not None:
        represent += _at(settings.oauth.token_url)
    return f"checked {_describe_check(mechanism, settings.tokens)}; then {represent}, {by}"


def _describe_check(mechanism: Mechanism, tokens: TokenSettings | None) -> str:
    if mechanism is Mechanism.EXTERNAL:
        return "by the client's certificate"
    if tokens is None or mechanism not in BEARER:
        return "by the users file"
    if tokens.introspection_url is not None:
        return f"by introspection{_at(tokens.introspection_url)}"
    return "by the provider's keys" + (_at(tokens.jwks_url) if tokens.jwks_url else f" in {tokens.jwks_file}")


def _describe_policy(policy: PolicySettings) -> str:
    line = f"policy: {policy.minimum.value} or stronger"
    if policy.listeners:
        line += f" on {', '.join(policy.listeners)}"
    if policy.networks:
        line += f" from {', '.join(map(str, policy.networks))}"
    if policy.users:
        line += f" for {', '.join(policy.users)}"
    return line


def _describe_users(users: UsersSettings) -> str:
    return f"users file {users.file}" + (", which learns from good passwords" if users.learn else "")


def _names(mechanisms: Iterable[Mechanism]) -> str:
    return ", ".join(mechanism.value for mechanism in mechanisms)


def _at(url: str) -> str:
    """Only the host: a query may hold a key."""
    return f" at {urlsplit(url).netloc}"


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
