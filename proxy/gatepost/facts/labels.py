"""The closed sets of what can happen. Each becomes a metric label, so nothing that a peer sends is ever in one."""

from __future__ import annotations

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
    XCLIENT = "XCLIENT"  # no SASL: the login is stated to an upstream that takes gatepost's word; never a client's
    OTHER = "other"


class AuthResult(Label):
    """How an authentication attempt ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # the upstream, the users file or the token's check said that the credentials are wrong
    TRANSITION = "transition"  # the same, and a login by PLAIN or LOGIN might cure it
    WEAK = "weak"  # the mechanism is weaker than the policy for this user allows
    CLEAR_REFUSED = "clear_refused"  # AUTH on a clear channel
    MECHANISM_REFUSED = "mechanism_refused"  # unknown, or not offered here
    MALFORMED = "malformed"  # base64 or the mechanism's own form
    CANCELLED = "cancelled"  # the client sent "*", or only asked what a token must be for
    ABANDONED = "abandoned"  # the client left in the exchange, or was too slow
    IMPOSSIBLE = "impossible"  # no plan leads from this evidence to the upstream
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"  # unreachable, slow, garbled, or a 4yz answer
    UPSTREAM_REFUSED = "upstream_refused"  # the upstream refused the mechanism or the command, not the credentials
    UPSTREAM_UNPROVEN = "upstream_unproven"  # it accepted, and could not show that it knows the secret itself (SCRAM)
    BACKEND_UNAVAILABLE = "backend_unavailable"  # the users file or the identity provider gave no answer


class CipherClass(Label):
    """What a TLS cipher suite is worth, the best first."""

    AEAD = "aead"  # forward secrecy and authenticated encryption
    CBC = "cbc"  # forward secrecy, and CBC, which needs care to be safe
    STATIC_KEY = "static_key"  # no forward secrecy: who gets the key reads what was recorded
    WEAK = "weak"  # RC4, 3DES, export, anonymous, or unknown


class HandshakeFailure(Label):
    """Why a TLS handshake failed."""

    NO_SHARED_CIPHER = "no_shared_cipher"
    UNSUPPORTED_VERSION = "unsupported_version"
    NOT_TLS = "not_tls"
    BAD_CERTIFICATE = "bad_certificate"  # the peer refused our certificate, or ours did not verify theirs
    NO_CERTIFICATE = "no_certificate"
    BAD_PIN = "bad_pin"  # the upstream's key is none of the pinned ones
    NO_HELLO = "no_hello"  # the peer closed before it said anything, as checks of an open port do
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
    UNPROVEN = "unproven"  # it accepted a login, and could not show that it knows the secret itself (SCRAM)


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
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  the authorization that it was opened with ran out
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
    MECHANISM_WEAK = "mechanism_weak"
    INITIAL_RESPONSE = "initial_response"
    CANNOT_DECODE = "cannot_decode"
    CREDENTIALS_INVALID = "credentials_invalid"
    PASSWORD_TRANSITION = "password_transition"  # noqa: S105  no password but the name of a reply
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  as above
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
    RELAY_DENIED = "relay_denied"
    RELAY_UNSURE = "relay_unsure"
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


class Backend(Label):
    """Who answers what the core may not answer itself."""

    USERS = "users"  # the users file: verifiers, secrets
    PASSWORDS = "passwords"
    DERIVATION = "derivation"  # hashing a password for SCRAM toward the upstream
    KEYS = "keys"  # fetching the keys that tokens are signed with
    INTROSPECTION = "introspection"  # asking the provider about a token (RFC 7662)
    TOKENS = "tokens"  # obtaining a token for the upstream (RFC 6749)


class BackendResult(Label):
    """How a backend answered; what the answer was is not said here."""

    ANSWERED = "answered"
    CACHED = "cached"  # from memory, nobody was asked
    REFUSED = "refused"  # the provider refuses gatepost itself
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    GARBLED = "garbled"  # an answer that makes no sense
    BUSY = "busy"  # too many were waiting already
