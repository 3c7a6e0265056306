"""What happened: the closed vocabulary that the core emits and `observe/` turns into metrics and log events.

Every enum here becomes a metric label, so each is closed: nothing that a peer sends is ever a label. Facts are past
tense and carry values, not sentences. This module imports nothing of gatepost and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Label(Enum):
    """A closed set of values. Members are singletons, so identity is hash enough, and much quicker than Enum's own."""

    __hash__ = object.__hash__


class Leg(Label):
    """The two connections of a conversation."""

    CLIENT = "client"
    UPSTREAM = "upstream"


class Channel(Label):
    """What protects a leg."""

    CLEAR = "clear"
    TLS = "tls"


class Mechanism(Label):
    """SASL mechanisms by their registered names; whatever else a client asks for is OTHER."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    CRAM_MD5 = "CRAM-MD5"
    SCRAM_SHA_1 = "SCRAM-SHA-1"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"
    EXTERNAL = "EXTERNAL"
    OTHER = "other"


class AuthResult(Label):
    """How an authentication attempt ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # the upstream said that the credentials are wrong
    CLEAR_REFUSED = "clear_refused"  # AUTH on a clear channel
    MECHANISM_REFUSED = "mechanism_refused"  # unknown, or not offered here
    MALFORMED = "malformed"  # base64 or the mechanism's own form
    CANCELLED = "cancelled"  # the client sent "*"
    ABANDONED = "abandoned"  # the client left in the exchange, or was too slow
    IMPOSSIBLE = "impossible"  # no plan leads from this evidence to the upstream
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"  # unreachable, slow, garbled, or a 4yz answer
    UPSTREAM_REFUSED = "upstream_refused"  # the upstream refused the mechanism or the command, not the credentials


class HandshakeFailure(Label):
    """Why a TLS handshake failed."""

    NO_SHARED_CIPHER = "no_shared_cipher"
    UNSUPPORTED_VERSION = "unsupported_version"
    NOT_TLS = "not_tls"
    BAD_CERTIFICATE = "bad_certificate"  # the peer refused our certificate, or ours did not verify theirs
    NO_CERTIFICATE = "no_certificate"
    BAD_PIN = "bad_pin"  # the upstream's key is none of the pinned ones
    PEER_CLOSED = "peer_closed"
    TIMED_OUT = "timed_out"
    OTHER = "other"


class UpstreamFailure(Label):
    """Why the upstream could not be used."""

    UNRESOLVED = "unresolved"  # its name has no address
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    CLOSED = "closed"  # it hung up
    GREETING_REFUSED = "greeting_refused"  # it greeted with something other than 220
    HELLO_REFUSED = "hello_refused"
    TLS_MISSING = "tls_missing"  # settings demand STARTTLS and it offers none
    TLS_FAILED = "tls_failed"
    GARBLED = "garbled"  # not SMTP, or a reply over the limit


class Violation(Label):
    """A client broke the protocol in a way that attacks do."""

    INJECTED_BEFORE_TLS = "injected_before_tls"  # plaintext behind STARTTLS
    HTTP = "http"
    TLS_ON_CLEAR = "tls_on_clear"  # a TLS hello where SMTP was expected
    LONE_NEWLINE = "lone_newline"  # a lone CR or LF in a message
    BAD_CHARACTERS = "bad_characters"  # NUL, lone CR or LF, or 8-bit octets in a command


class Limit(Label):
    """A limit that was hit."""

    CONVERSATIONS = "conversations"
    CONVERSATIONS_PER_CLIENT = "conversations_per_client"
    LINE = "line"
    ERRORS = "errors"
    COMMANDS_BEFORE_LOGIN = "commands_before_login"
    LOGIN_FAILURES = "login_failures"
    RECIPIENTS = "recipients"
    MESSAGE_BYTES = "message_bytes"
    FILE_DESCRIPTORS = "file_descriptors"


class MessageResult(Label):
    """How a message ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # the upstream or gatepost answered 4yz or 5yz
    ABORTED = "aborted"  # a leg was lost before the upstream's answer


class Ending(Label):
    """Why a conversation ended."""

    QUIT = "quit"
    CLIENT_GONE = "client_gone"
    CLIENT_TIMED_OUT = "client_timed_out"
    HANDSHAKE_FAILED = "handshake_failed"
    REFUSED = "refused"  # closed by a limit, a violation or too many errors
    UPSTREAM_LOST = "upstream_lost"
    DRAINED = "drained"
    CUT_OFF = "cut_off"  # not done when the time to drain was over
    CRASHED = "crashed"


class Refusal(Label):
    """Every reply of our own that refuses something; `wire/refusals.py` gives each its exact bytes."""

    STARTTLS_PARAMETER = "starttls_parameter"
    TLS_ACTIVE = "tls_active"
    TLS_REQUIRED = "tls_required"
    REQUIRETLS_IMPOSSIBLE = "requiretls_impossible"
    AUTH_NEEDS_TLS = "auth_needs_tls"
    AUTH_REQUIRED = "auth_required"
    AUTH_DISABLED = "auth_disabled"
    AUTH_SYNTAX = "auth_syntax"
    AUTH_TWICE = "auth_twice"
    AUTH_IN_TRANSACTION = "auth_in_transaction"
    AUTH_CANCELLED = "auth_cancelled"
    AUTH_UNAVAILABLE = "auth_unavailable"
    AUTH_LINE_TOO_LONG = "auth_line_too_long"
    MECHANISM_UNKNOWN = "mechanism_unknown"
    CANNOT_DECODE = "cannot_decode"
    CREDENTIALS_INVALID = "credentials_invalid"
    ACCOUNT_DISABLED = "account_disabled"
    TOO_MANY_FAILURES = "too_many_failures"
    HELLO_FIRST = "hello_first"
    SYNTAX = "syntax"
    UNKNOWN_COMMAND = "unknown_command"
    NOT_IMPLEMENTED = "not_implemented"
    IDENTITY_COMMAND = "identity_command"
    BAD_CHARACTERS = "bad_characters"
    LINE_TOO_LONG = "line_too_long"
    TOO_MANY_ERRORS = "too_many_errors"
    TOO_MANY_COMMANDS = "too_many_commands"
    OUT_OF_SYNC = "out_of_sync"
    IN_TRANSACTION = "in_transaction"
    CHUNKS_UNDER_WAY = "chunks_under_way"
    NO_TRANSACTION = "no_transaction"
    CHUNK_SYNTAX = "chunk_syntax"
    LONE_NEWLINE = "lone_newline"
    MESSAGE_TOO_BIG = "message_too_big"
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    PARAMETER_UNKNOWN = "parameter_unknown"
    PARAMETER_SYNTAX = "parameter_syntax"
    ADDRESS_NOT_ASCII = "address_not_ascii"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_UNREACHABLE_NOW = "upstream_unreachable_now"
    UPSTREAM_LOST = "upstream_lost"
    UPSTREAM_GARBLED = "upstream_garbled"
    MESSAGE_UNSURE = "message_unsure"
    TOO_MANY_CONVERSATIONS = "too_many_conversations"
    TOO_MANY_FROM_CLIENT = "too_many_from_client"
    CLIENT_TIMED_OUT = "client_timed_out"
    DRAINING = "draining"
    INTERNAL_FAULT = "internal_fault"


@dataclass(frozen=True, slots=True)
class Tls:
    """What a handshake agreed on. `version` is one of TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; `verified` speaks of the peer."""

    version: str
    cipher: str
    resumed: bool = False
    verified: bool = False


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
class AuthEnded:
    """One authentication attempt ended. `user` is for logs only and empty whenever the channel was clear."""

    mechanism: Mechanism
    channel: Channel
    result: AuthResult
    user: str = ""


@dataclass(frozen=True, slots=True)
class CredentialsExposed:
    """A client sent a credential over a clear channel, as an initial response; nobody looked at it."""

    mechanism: Mechanism


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
    last_refusal: Refusal | None = None
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
    | AuthEnded
    | CredentialsExposed
    | AuthRewritten
    | Refused
    | Violated
    | LimitHit
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


@dataclass(frozen=True, slots=True)
class CertificateLoaded:
    """A certificate is in use. `file` is its path, `name` the first name it carries: both are the operator's."""

    file: str
    name: str
    not_after: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class CertificatesRefused:
    """A changed set of certificate files could not be used; the last good one stays."""

    why: str


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """A connection was turned away before it became a conversation."""

    listener: str
    limit: Limit


@dataclass(frozen=True, slots=True)
class Started:
    listeners: tuple[str, ...]  # "submission 127.0.0.1:5587"
    conversations: int  # at once, as far as the file descriptors reach


@dataclass(frozen=True, slots=True)
class DrainBegan:
    conversations: int


@dataclass(frozen=True, slots=True)
class Stopped:
    cut_off: int  # conversations that did not end in time


ProcessFact = (
    UpstreamProbed | CertificateLoaded | CertificatesRefused | ConnectionRefused | Started | DrainBegan | Stopped
)
