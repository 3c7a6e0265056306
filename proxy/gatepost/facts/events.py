"""The facts: past tense, values and no sentences. Those of a conversation first, then those of the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatepost.facts.labels import (
    AuthResult,
    Backend,
    BackendResult,
    Channel,
    CipherClass,
    Ending,
    HandshakeFailure,
    Leg,
    Limit,
    Mechanism,
    MessageResult,
    Refusal,
    UpstreamFailure,
    Violation,
)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a handshake agreed on. `version` is one of TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; `verified` speaks of the peer.

    `identity`: who a client's verified certificate says it is; "" when there is none.
    `not_after`: of an upstream's certificate, in seconds since the epoch; 0 when it is not known.
    """

    version: str
    cipher: str
    resumed: bool = False
    verified: bool = False
    identity: str = ""
    strength: CipherClass = CipherClass.AEAD
    not_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a leg."""

    address: str
    port: int
    loopback: bool


# --- facts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HandshakeDone:
    leg: Leg
    tls: Tls
    seconds: float


@dataclass(frozen=True, slots=True)
class HandshakeFailed:
    leg: Leg
    reason: HandshakeFailure


@dataclass(frozen=True, slots=True)
class UpstreamConnected:
    seconds: float


@dataclass(frozen=True, slots=True)
class UpstreamFailed:
    reason: UpstreamFailure


@dataclass(frozen=True, slots=True)
class AuthBegan:
    mechanism: Mechanism


@dataclass(frozen=True, slots=True)
class AuthHeard:
    """The client has said all that its mechanism says."""

    mechanism: Mechanism


@dataclass(frozen=True, slots=True)
class AuthPresented:
    """The upstream is about to be shown what the client has shown, by a mechanism of its own."""


@dataclass(frozen=True, slots=True)
class PolicyDecided:
    """A minimum of the policies applied to a login, and it was refused for it or not."""

    minimum: Mechanism
    refused: bool


@dataclass(frozen=True, slots=True)
class AuthEnded:
    """One authentication attempt ended.

    `user` is for logs only, and what the client says: over a clear channel gatepost looks at nothing else of it.
    """

    mechanism: Mechanism
    channel: Channel
    result: AuthResult
    user: str = ""
    upstream_mechanism: Mechanism | None = None  # what it was presented by, if it came to that
    exposed: bool = False  # a credential crossed a clear channel, as an initial response


@dataclass(frozen=True, slots=True)
class AuthRewritten:
    """What a client proved by one mechanism was presented to the upstream by another (or the same)."""

    client_mechanism: Mechanism
    upstream_mechanism: Mechanism
    result: AuthResult


@dataclass(frozen=True, slots=True)
class Refused:
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Violated:
    violation: Violation


@dataclass(frozen=True, slots=True)
class LimitHit:
    limit: Limit


@dataclass(frozen=True, slots=True)
class MessageSent:
    """The upstream has the whole message, and owes its reply."""


@dataclass(frozen=True, slots=True)
class MessageEnded:
    result: MessageResult
    body_bytes: int
    recipients: int


@dataclass(frozen=True, slots=True)
class Crashed:
    """A bug of ours ended a conversation. `frames` are "file:line function": messages and values may be secret."""

    error: str
    frames: tuple[str, ...]


@dataclass(slots=True)
class Summary:
    """Everything known about one conversation, filled in as it goes; for its one canonical log event."""

    channel: Channel = Channel.CLEAR
    tls: Tls | None = None
    hello: str = ""  # the client's EHLO name, cleaned of control characters
    mechanism: Mechanism | None = None  # of the login that was accepted
    upstream_mechanism: Mechanism | None = None
    user: str = ""
    upstream_tls: Tls | None = None
    upstream_failure: UpstreamFailure | None = None
    auth_failures: int = 0
    exposed: bool = False
    commands: int = 0
    messages_accepted: int = 0
    messages_refused: int = 0
    recipients: int = 0
    body_bytes: int = 0
    replies: list[int] = field(default_factory=lambda: [0, 0, 0, 0])  # to the client: 2yz, 3yz, 4yz, 5yz
    refusals: dict[Refusal, int] = field(default_factory=dict)
    violations: set[Violation] = field(default_factory=set)
    ending: Ending = Ending.CUT_OFF


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    summary: Summary


Fact = (
    HandshakeDone
    | HandshakeFailed
    | UpstreamConnected
    | UpstreamFailed
    | AuthBegan
    | AuthHeard
    | AuthPresented
    | PolicyDecided
    | AuthEnded
    | AuthRewritten
    | Refused
    | Violated
    | LimitHit
    | MessageSent
    | MessageEnded
    | Crashed
    | ConversationEnded
)


# --- facts that belong to no conversation ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpstreamProbed:
    """The periodic probe asked the upstream for its EHLO; `failure` is None when it answered well."""

    failure: UpstreamFailure | None
    seconds: float
    certificate: CertificateLoaded | None = None  # the upstream's own, when it has shown one


@dataclass(frozen=True, slots=True)
class RelayChecked:
    """The upstream was asked for a relay to a foreign domain, without a login."""

    relays: bool


@dataclass(frozen=True, slots=True)
class CertificateLoaded:
    """A certificate is in use on a leg. `file` is its path, `names` are those it carries: both are the operator's."""

    leg: Leg
    file: str  # "" for the upstream's own
    names: tuple[str, ...]
    not_after: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class CertificatesRefused:
    """A changed set of certificate files could not be used; the last good one stays."""

    why: str


@dataclass(frozen=True, slots=True)
class UsersLoaded:
    """The users file is in use. `file` is its path."""

    file: str
    users: int


@dataclass(frozen=True, slots=True)
class UsersRefused:
    """A changed users file could not be used; the last good one stays. `why` quotes nothing of the file."""

    why: str


@dataclass(frozen=True, slots=True)
class BackendAsked:
    """A backend was asked something; `seconds` until its answer."""

    backend: Backend
    result: BackendResult
    seconds: float


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """A connection was turned away before it became a conversation."""

    listener: str
    limit: Limit
    address: str = ""  # the client's, where it was taken far enough to have one


@dataclass(frozen=True, slots=True)
class SettingsLoaded:
    """The settings were read again, and hold for new conversations."""

    conversations: int  # at once, as far as the file descriptors reach


@dataclass(frozen=True, slots=True)
class SettingsRefused:
    """They were read again and cannot be used; those before still hold."""

    why: str


@dataclass(frozen=True, slots=True)
class Started:
    listeners: tuple[str, ...]  # "submission 127.0.0.1:5587"
    conversations: int  # at once, as far as the file descriptors reach
    observe: str = ""  # "127.0.0.1:9587"
    exposed: bool = False  # other machines may reach it there


@dataclass(frozen=True, slots=True)
class Measured:
    """How things stand now, for somebody who asks. Phases are those of `session/phases.py`, in lower case."""

    active: Mapping[tuple[str, str], int]  # conversations by listener and phase
    waiting: Mapping[str, int]  # connections not yet let in, by listener


@dataclass(frozen=True, slots=True)
class TimerLate:
    """A timer of gatepost's own went off so many seconds late: so long the loop was busy with something else."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DrainBegan:
    conversations: int


@dataclass(frozen=True, slots=True)
class Stopped:
    cut_off: int  # conversations that did not end in time


ProcessFact = (
    UpstreamProbed
    | RelayChecked
    | CertificateLoaded
    | CertificatesRefused
    | UsersLoaded
    | UsersRefused
    | BackendAsked
    | ConnectionRefused
    | SettingsLoaded
    | SettingsRefused
    | Started
    | Measured
    | TimerLate
    | DrainBegan
    | Stopped
)
