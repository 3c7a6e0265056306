"""What holds for new conversations: made at the start, and again whenever the settings are read again."""

from __future__ import annotations

import resource
import socket

from gatepost.facts import CertificateLoaded, Leg
from gatepost.net.listeners import Regime
from gatepost.net.probe import Watch
from gatepost.net.tls import Certificates, loaded
from gatepost.net.upstream import Dialer
from gatepost.policy import Policy
from gatepost.sasl.exchange import Password
from gatepost.sasl.plan import Means, Naming
from gatepost.sasl.secret import Secret
from gatepost.session.talk import Rules, Waits
from gatepost.settings import LimitSettings, Settings
from gatepost.settings.files import strip_newline
from gatepost.settings.ways import Ways

RESERVED_DESCRIPTORS = 64  # for listeners, the endpoint, files, and the probe
# What is built into the process as it starts: another listener, or another way to tell users, needs a new process.
BUILT_IN = ("observe", "log", "users", "tokens", "oauth")


class Unfit(Exception):
    """The settings cannot be carried out here; the message says what is in the way."""


def regime(settings: Settings, certificates: Certificates) -> Regime:
    """Raises Unfit."""
    rules = _rules(settings)
    dialer = Dialer(settings.upstream, settings.timeouts.upstream_connect)
    watch = Watch(next(iter(rules.values())), dialer)
    return Regime(_affordable(settings), rules, dialer, watch, certificates)


def load_certificates(settings: Settings) -> Certificates:
    """Raises Unfit."""
    try:
        return Certificates(settings.tls)
    except (OSError, ValueError) as error:
        raise Unfit(f"the certificates cannot be loaded: {error}") from None


def certificates_in_use(holding: Regime, settings: Settings) -> list[CertificateLoaded]:
    """Those that clients see, and gatepost's own toward the upstream. Raises Unfit."""
    own = settings.upstream.certificate
    try:
        shown = [] if own is None else [loaded(Leg.UPSTREAM, own)]
    except (OSError, ValueError) as error:
        raise Unfit(f"the certificates cannot be loaded: {error}") from None
    return [*holding.certificates.generation.loaded, *shown]


def built_in_differently(before: Settings, after: Settings) -> list[str]:
    """The tables in which something changed that needs a new process."""
    tables = [name for name in BUILT_IN if getattr(before, name) != getattr(after, name)]
    binds = [[(listener.name, listener.bind) for listener in each.listeners] for each in (before, after)]
    return [*tables, "listeners (name, bind)"] if binds[0] != binds[1] else tables


def _means(settings: Settings) -> Means:
    upstream, service = settings.upstream, None
    if upstream.service_user is not None and upstream.service_password_file is not None:
        try:
            secret = upstream.service_password_file.read_bytes()
        except OSError as error:
            raise Unfit(f"cannot read {upstream.service_password_file}: {error.strerror}") from None
        service = Password(upstream.service_user, "", Secret(strip_newline(secret)))
    naming = Naming(upstream.login_template, {each.client.casefold(): each.upstream for each in upstream.logins})
    tokens = settings.tokens
    return Means(
        Ways.of(settings),
        service,
        naming,
        scope=tokens.scope if tokens else "",
        ends_with_token=tokens is not None and tokens.end_conversations,
    )


def _rules(settings: Settings) -> dict[str, Rules]:
    """By listener."""
    name = settings.smtp.hostname or socket.gethostname()
    try:
        hostname = name.encode("idna")
    except UnicodeError:
        raise Unfit(f"{name!r} is no host name: set smtp.hostname") from None
    waits, means = Waits(settings.timeouts), _means(settings)
    local_domains = frozenset(settings.relay_check.local_domains)
    made = {}
    for listener in settings.listeners:
        policies = tuple(each for each in settings.policies if each.covers(listener))
        policy = Policy(listener, settings.limits, hostname, means, policies, local_domains)
        made[listener.name] = Rules(policy, settings.upstream, settings.smtp.lone_newlines, waits)
    return made


def _affordable(settings: Settings) -> LimitSettings:
    """The limits, with conversations lowered to what the file descriptors allow: two for each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.limits.conversations + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings.limits
    return settings.limits.model_copy(update={"conversations": max(1, (soft - RESERVED_DESCRIPTORS) // 2)})
