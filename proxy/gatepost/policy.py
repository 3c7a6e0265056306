"""Policy: may this client do this here, what is it offered, and which refusal does it get? Pure answers.

Legality (may this verb run in this phase at all?) is `session/phases.py`; this module knows the listener's settings and
what the upstream can do. What is offered and what is accepted are answered from the same data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from gatepost.facts import AuthResult, Channel, Mechanism, Refusal
from gatepost.sasl.plan import PASS_ON, SERVER, Means, Offered, is_weaker, upstream_mechanism
from gatepost.sasl.prepare import prepare_name
from gatepost.settings import STRENGTH, Auth, LimitSettings, ListenerSettings, ListenerTls, PolicySettings
from gatepost.settings.ways import accepted
from gatepost.wire.capabilities import CARRIED, PARAMETERS, Capabilities
from gatepost.wire.commands import Command, Envelope, Verb, domain_of

# RFC 3207 section 4: before TLS, 530 to every command except these. HELO and RSET are not excepted.
BEFORE_TLS = frozenset({Verb.EHLO, Verb.STARTTLS, Verb.NOOP, Verb.QUIT})
# RFC 4954 section 6: before AUTH, 530 to every command except these. STARTTLS comes before AUTH by its nature.
BEFORE_LOGIN = frozenset({Verb.AUTH, Verb.EHLO, Verb.HELO, Verb.NOOP, Verb.RSET, Verb.QUIT, Verb.STARTTLS})
# Refused in every phase by the table, with a reply of their own.
NEVER = frozenset({Verb.XCLIENT, Verb.XFORWARD, Verb.BURL, Verb.TURN, Verb.HTTP, Verb.UNKNOWN})
# Relayed only while the upstream offers the extension: an unknown verb may change how the stream is framed.
NEEDS_EXTENSION = {Verb.BDAT: b"CHUNKING", Verb.ETRN: b"ETRN"}


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is known of the upstream leg, live or from the last probe.

    `guarded`: a password may cross it (TLS with a proven peer, loopback, or declared trusted).
    """

    capabilities: Capabilities
    encrypted: bool
    guarded: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a client decides which mechanisms it may use before anybody knows its login.

    `minimum`: from policies for its address. `certified`: its certificate was verified and carries a login.
    """

    minimum: Mechanism | None = None
    certified: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The answers for one listener."""

    listener: ListenerSettings
    limits: LimitSettings
    hostname: bytes
    means: Means = PASS_ON
    policies: tuple[PolicySettings, ...] = ()  # those for this listener
    local_domains: frozenset[str] = frozenset()  # the upstream's own

    @property
    def demands_login(self) -> bool:
        return self.listener.auth is Auth.REQUIRED

    @property
    def demands_tls(self) -> bool:
        """A listener that demands a login demands TLS with it: there is no other way to log in."""
        return self.demands_login

    def refusal(self, verb: Verb, channel: Channel, *, logged_in: bool) -> Refusal | None:
        """What this listener demands before `verb`; None: nothing that is missing."""
        if verb in NEVER:
            return None
        if channel is Channel.CLEAR and self.demands_tls and verb not in BEFORE_TLS:
            return Refusal.TLS_REQUIRED
        if not logged_in and self.demands_login and verb not in BEFORE_LOGIN:
            return Refusal.AUTH_REQUIRED
        if verb is Verb.AUTH and self.listener.auth is Auth.OFF:
            return Refusal.AUTH_DISABLED
        return None

    # --- mechanisms

    def mechanisms(self, upstream: Upstream, standing: Standing) -> tuple[Mechanism, ...]:
        """What EHLO offers: whatever AUTH has no objection to. Only ever asked for a TLS channel."""
        return tuple(each for each in SERVER if self.objection(each, upstream, standing) is None)

    def objection(self, mechanism: Mechanism, upstream: Upstream | None, standing: Standing) -> AuthResult | None:
        """Why a client must not use this mechanism, before it has said anything else; None: it may."""
        if self.listener.auth is Auth.OFF or mechanism not in SERVER or not self._is_switched_on(mechanism):
            return AuthResult.MECHANISM_REFUSED
        if mechanism is Mechanism.EXTERNAL and not standing.certified:
            return AuthResult.MECHANISM_REFUSED
        if standing.minimum is not None and is_weaker(mechanism, standing.minimum):
            return AuthResult.WEAK
        if upstream is not None and self.route(mechanism, upstream) is None:
            return AuthResult.IMPOSSIBLE
        return None

    def _is_switched_on(self, mechanism: Mechanism) -> bool:
        return mechanism in accepted(self.listener.mechanisms, self.means.ways.relay)

    def route(self, mechanism: Mechanism, upstream: Upstream, *, acting: bool = False) -> Mechanism | None:
        """How a client that speaks this mechanism logs in to the upstream; None: there is no way."""
        offer = upstream.capabilities
        offered = Offered(offer.mechanisms, offer.binds, upstream.guarded)
        return upstream_mechanism(mechanism, self.means, offered, acting=acting)

    def minimum(self, address: str, users: tuple[str, ...] = ()) -> Mechanism | None:
        """The least that a client of this address must use, as one of `users` or before that is known.

        "" among the users is one who is not known: every policy for users is taken to be for this one.
        """
        if not self.policies:
            return None
        fitting = [
            policy.minimum for policy in self.policies if _is_from(address, policy) and _is_one_of(users, policy)
        ]
        return max(fitting, key=STRENGTH.__getitem__, default=None)

    def offer(
        self, upstream: Upstream, channel: Channel, *, starttls: bool, mechanisms: tuple[Mechanism, ...]
    ) -> list[bytes]:
        """The lines of an EHLO reply: upstream's capabilities, less those not carried, plus gatepost's own."""
        lines = [self.hostname, b"PIPELINING"]
        for keyword, parameters in upstream.capabilities.keywords.items():
            if keyword not in CARRIED or keyword == b"PIPELINING":
                continue
            if keyword == b"REQUIRETLS" and not self._may_require_tls(upstream, channel):
                continue
            value = self._lowered(keyword, parameters)
            lines.append(keyword + b" " + value if value else keyword)
        if self.limits.message_bytes and b"SIZE" not in upstream.capabilities:
            lines.append(b"SIZE %d" % self.limits.message_bytes)
        if mechanisms:
            lines.append(b"AUTH " + b" ".join(mechanism.value.encode() for mechanism in mechanisms))
        if starttls:
            lines.append(b"STARTTLS")
        return lines

    @property
    def offers_starttls(self) -> bool:
        return self.listener.tls is ListenerTls.STARTTLS

    def extension_refusal(self, verb: Verb, upstream: Upstream) -> Refusal | None:
        needed = NEEDS_EXTENSION.get(verb)
        return Refusal.NOT_IMPLEMENTED if needed and needed not in upstream.capabilities else None

    def envelope_refusal(
        self, command: Command, envelope: Envelope, upstream: Upstream, channel: Channel
    ) -> Refusal | None:
        """What is wrong with the arguments of MAIL or RCPT, as far as gatepost must know."""
        if not command.ascii and b"SMTPUTF8" not in upstream.capabilities:
            return Refusal.ADDRESS_NOT_ASCII
        extensions = PARAMETERS[command.verb]
        for keyword, value in envelope.parameters:
            if keyword == b"REQUIRETLS" and not self._may_require_tls(upstream, channel):
                return Refusal.REQUIRETLS_IMPOSSIBLE
            extension = extensions.get(keyword)
            if keyword == b"BODY" and value.upper() == b"BINARYMIME":
                extension = b"BINARYMIME"
            if extension is None or not self._offered(extension, upstream, channel):
                return Refusal.PARAMETER_UNKNOWN
            if keyword == b"SIZE" and (refusal := self._size_refusal(value)):
                return refusal
        return None

    def relay_refusal(self, path: bytes, *, relays: bool | None) -> Refusal | None:
        """What is wrong with a recipient of a client that has not logged in.

        `relays`: whether the upstream would take anything that comes from gatepost; None: that is not known yet. An
        upstream that would is not to be misled: what passes leads to its own domains, and nowhere beyond them.
        """
        if relays is False or domain_of(path) in ("", *self.local_domains):
            return None
        return Refusal.RELAY_DENIED if relays and self.local_domains else Refusal.RELAY_UNSURE

    def _offered(self, extension: bytes, upstream: Upstream, channel: Channel) -> bool:
        if extension == b"AUTH":  # gatepost's own offer; the upstream may trust what a stranger says through a proxy
            return channel is Channel.TLS and bool(self.mechanisms(upstream, Standing(certified=True)))
        return extension in upstream.capabilities or (extension == b"SIZE" and self.limits.message_bytes is not None)

    def _size_refusal(self, value: bytes) -> Refusal | None:
        if not (value.isdigit() and len(value) <= 20):  # noqa: PLR2004  RFC 1870 section 4
            return Refusal.PARAMETER_SYNTAX
        if self.limits.message_bytes is not None and int(value) > self.limits.message_bytes:
            return Refusal.MESSAGE_TOO_BIG
        return None

    @staticmethod
    def _may_require_tls(upstream: Upstream, channel: Channel) -> bool:
        """RFC 8689 section 4.1: both legs must be TLS, the upstream be proven, and know REQUIRETLS."""
        encrypted = upstream.encrypted and upstream.guarded and channel is Channel.TLS
        return encrypted and b"REQUIRETLS" in upstream.capabilities

    def _lowered(self, keyword: bytes, parameters: bytes) -> bytes:
        """A limit that the upstream states, lowered to ours."""
        if keyword == b"SIZE" and self.limits.message_bytes is not None:
            stated = int(parameters) if parameters.isdigit() and len(parameters) <= 20 else 0  # noqa: PLR2004
            return b"%d" % min(stated or self.limits.message_bytes, self.limits.message_bytes)
        if keyword == b"LIMITS":  # RFC 9422 section 4
            return b" ".join(self._lowered_limit(word) for word in parameters.split())
        return parameters

    def _lowered_limit(self, word: bytes) -> bytes:
        name, _, value = word.partition(b"=")
        if name.upper() == b"RCPTMAX" and value.isdigit() and int(value[:9]) > self.limits.recipients:
            return b"RCPTMAX=%d" % self.limits.recipients
        return word


def _is_from(address: str, policy: PolicySettings) -> bool:
    if not policy.networks:
        return True
    return is_within(address, policy.networks)


def is_within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an IP literal is of one of these networks. None of the other IP version ever is."""
    parsed = ip_address(address)
    return any(parsed in network for network in networks)


def _is_one_of(users: tuple[str, ...], policy: PolicySettings) -> bool:
    if not policy.users:
        return True
    patterns = [_folded(pattern) for pattern in policy.users]
    return any(not user or _fits(_folded(user), pattern) for user in users for pattern in patterns)


def _folded(login: str) -> str:
    """However it is written: upstreams rarely tell upper from lower, and prepare names as SASL has it."""
    return prepare_name(login).casefold()


def _fits(user: str, pattern: str) -> bool:
    return user.endswith(pattern[1:]) if pattern.startswith("*@") else user == pattern
