"""The tables of the settings file. Each default is the safe choice; the sentence under a key says what it is for.

These sentences are also the reference page, `docs/settings.md`, which `python -m gatepost.settings.reference` writes.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from pydantic import Field

from gatepost.settings.observation import LogSettings, ObserveSettings
from gatepost.settings.section import Section
from gatepost.settings.values import (
    BindAddress,
    CertificateName,
    Challenge,
    Count,
    Domain,
    File,
    Flag,
    HostName,
    JwtAlgorithm,
    Label,
    LoginName,
    LoginPattern,
    LoginTemplate,
    Network,
    PemFile,
    Pin,
    Sasl,
    ScopeWord,
    Seconds,
    ServerAddress,
    Url,
)


class UpstreamTls(Enum):
    """How the upstream leg is protected."""

    NEVER = "never"
    OPPORTUNISTIC = "opportunistic"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class ListenerTls(Enum):
    """How a client reaches TLS on a listener."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Auth(Enum):
    """What a listener asks of clients that want to send mail."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    OFF = "off"


class TlsProfile(Enum):
    """Protocol versions and ciphers, after Mozilla's recommendations."""

    MODERN = "modern"  # TLS 1.3 only
    INTERMEDIATE = "intermediate"  # TLS 1.2 and 1.3, forward secrecy, AEAD
    OLD = "old"  # TLS 1.0 and up, for peers that cannot be updated


class LoneNewlines(Enum):
    """What becomes of a CR or LF that stands alone in a message (SMTP smuggling, CVE-2023-51764 and kin)."""

    NORMALISE = "normalise"
    REFUSE = "refuse"


class Represent(Enum):
    """How a user who was proven to gatepost is represented to the upstream."""

    SECRET = "secret"  # noqa: S105  by the user's own upstream secret, from the users file
    SERVICE = "service"  # by a service account that may act as the user
    XCLIENT = "xclient"  # by stating the login (XCLIENT LOGIN), where the upstream trusts gatepost's address
    TOKEN = "token"  # noqa: S105  by a token that gatepost obtains for the user
    CERTIFICATE = "certificate"  # by gatepost's own certificate and EXTERNAL, acting as the user


class ClientIdentity(Enum):
    """What of a client's certificate is the login that EXTERNAL proves."""

    EMAIL = "email"  # the only rfc822Name of its subjectAltName
    DNS = "dns"  # the only dNSName of its subjectAltName
    COMMON_NAME = "common_name"  # the only CN of its subject


class Grant(Enum):
    """How gatepost obtains a token (RFC 6749)."""

    CLIENT_CREDENTIALS = "client_credentials"  # section 4.4: as the application, for any user
    REFRESH_TOKEN = "refresh_token"  # noqa: S105  section 6: by each user's refresh token, from the users file


class LoginSettings(Section):
    """`[[upstream.logins]]`: one login that is called something else at the upstream."""

    client: LoginName
    """As the client gives it."""
    upstream: LoginName
    """As the upstream knows it."""


class UpstreamSettings(Section):
    """`[upstream]`: the server behind."""

    address: ServerAddress
    """Where it listens: "host:port" or "[v6]:port"."""
    tls: UpstreamTls
    """starttls: demanded (RFC 3207). implicit: from the first byte (RFC 8314). opportunistic: proves nothing."""
    ca: PemFile | None = None
    """PEM file of the authorities to trust; without it the system's are, unless `pins` are set."""
    server_name: CertificateName = ""
    """The name its certificate must carry; without it, the host of `address`."""
    pins: tuple[Pin, ...] = ()
    """"sha256/BASE64" of the SubjectPublicKeyInfo of keys it may have. With `pins` and no `ca`, pins alone decide."""
    profile: TlsProfile = TlsProfile.INTERMEDIATE
    """`old` speaks TLS 1.0 and weak ciphers with a server that cannot do better."""
    trusted: Flag = False
    """The network up to it is as good as TLS, so passwords may cross it in the clear. Loopback always is."""
    probe_seconds: Seconds = Field(default=30.0, ge=1, le=3600)
    """How often its EHLO is asked for, for readiness and for what clients are offered."""
    certificate: PemFile | None = None
    """PEM file: gatepost's own certificate, for an upstream that asks for one; then its intermediates."""
    key: PemFile | None = None
    """PEM file of its private key, without a passphrase."""
    mechanisms: tuple[Sasl, ...] | None = Field(default=None, min_length=1)
    """Those that gatepost may use toward it; without it, all. Of those that it offers, the strongest is used."""
    relay: tuple[Challenge, ...] = ()
    """Challenge mechanisms that pass between client and upstream as they are, when it offers them."""
    represent: Represent | None = None
    """How a user is represented who proved to gatepost itself who it is; see docs/mechanisms.md."""
    service_user: LoginName | None = None
    """The login of the service account, for `represent = "service"`."""
    service_password_file: File | None = None
    """A file that holds its password, and nothing else."""
    login_template: LoginTemplate = "{login}"
    """What a client's login is called at the upstream: a text with {login}, {local} and {domain}."""
    logins: tuple[LoginSettings, ...] = ()
    """Logins that are called something else than the template says."""


class CertificateSettings(Section):
    """`[[tls.certificates]]`: one more certificate, chosen by the name that the client asks for (SNI)."""

    certificate: PemFile
    """PEM file: the certificate, then its intermediates."""
    key: PemFile
    """PEM file of its private key, without a passphrase."""


class TlsSettings(Section):
    """`[tls]`: what clients see."""

    certificate: PemFile
    """PEM file: the certificate, then its intermediates."""
    key: PemFile
    """PEM file of its private key, without a passphrase."""
    certificates: tuple[CertificateSettings, ...] = ()
    """More certificates, for other names."""
    client_ca: PemFile | None = None
    """PEM file of authorities: clients are then asked for a certificate, and may leave it out."""
    client_identity: ClientIdentity = ClientIdentity.EMAIL
    """What of a client's certificate is its login, for EXTERNAL. A certificate with none or several proves nothing."""
    watch_seconds: Seconds = Field(default=5.0, ge=0.1, le=3600)
    """How often the files are looked at for a change. A bad set of files keeps the last good one in use."""


class ListenerSettings(Section):
    """`[[listeners]]`: a door for clients."""

    name: Label
    """A metric label and a word in logs; lower case."""
    bind: tuple[BindAddress, ...] = Field(min_length=1)
    """Where it listens, one or several. "[::]:587" is every IPv6 address, "0.0.0.0:587" every IPv4 address."""
    tls: ListenerTls
    """starttls: the client asks for TLS (RFC 3207). implicit: TLS from the first byte (RFC 8314)."""
    auth: Auth = Auth.REQUIRED
    """required: mail only after AUTH. optional: mail without AUTH too (port 25). off: AUTH is not offered."""
    profile: TlsProfile = TlsProfile.INTERMEDIATE
    """modern: TLS 1.3. intermediate: TLS 1.2 and up. old: TLS 1.0 and up, for clients that cannot be updated."""
    mechanisms: tuple[Sasl, ...] | None = Field(default=None, min_length=1)
    """Those that clients may use; without it, all, CRAM-MD5 only if relayed. EHLO offers those that lead somewhere."""


class PolicySettings(Section):
    """`[[policies]]`: what some clients or users must use at least. Of several that fit, the strongest counts."""

    minimum: Sasl
    """Weaker ones are refused. In order: LOGIN and PLAIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, tokens, EXTERNAL."""
    listeners: tuple[Label, ...] = ()
    """The listeners it is for; without it, all."""
    networks: tuple[Network, ...] = ()
    """The client addresses it is for; without it, all."""
    users: tuple[LoginPattern, ...] = ()
    """The logins it is for: "bob@example.com" or "*@example.com"; without it, all."""

    def covers(self, listener: ListenerSettings) -> bool:
        """Whether it is for this listener."""
        return not self.listeners or listener.name in self.listeners


class UsersSettings(Section):
    """`[users]`: the users that gatepost itself can tell, by a file that `gatepost user` edits."""

    file: File
    """A TOML or JSON file, of mode 0600, or 0640 for a group. It is watched for a change as certificates are."""
    verify_passwords: Flag = False
    """PLAIN and LOGIN are checked here, and the user is represented as `upstream.represent` says."""
    learn: Flag = False
    """A good login by PLAIN or LOGIN adds to the file what SCRAM needs. Until then SCRAM is answered with 432."""
    verifications: Count = Field(default=2, ge=1, le=64)
    """Passwords hashed at once, each in a thread; others wait."""


class TokenSettings(Section):
    """`[tokens]`: tokens of clients are checked here. Without this table they are passed on to the upstream."""

    jwks_url: Url | None = None
    """Where the provider publishes its keys. Tokens are JWTs then, and are checked without asking the provider."""
    jwks_file: File | None = None
    """The same from a file, in JSON."""
    introspection_url: Url | None = None
    """Where the provider is asked about each token (RFC 7662)."""
    issuer: str = ""
    """What `iss` must be. Must be set with `jwks_url` or `jwks_file`."""
    audience: str = ""
    """What `aud` must contain. Must be set with `jwks_url` or `jwks_file`; with `introspection_url`, it or `scope`."""
    algorithms: tuple[JwtAlgorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    """Signatures that are accepted."""
    scope: ScopeWord = ""
    """A word that `scope` (or `scp`) must contain; clients with a bad token are told it."""
    user_claim: str = Field(default="email", min_length=1)
    """The claim that holds the login."""
    client_id: str = ""
    """Who gatepost is to the provider, for introspection."""
    client_secret_file: File | None = None
    """A file that holds the secret for it, and nothing else."""
    ca: PemFile | None = None
    """PEM file of the authorities to trust for these URLs; without it the system's are."""
    end_conversations: Flag = True
    """A conversation ends, between two commands, when the token that opened it expires."""


class OauthSettings(Section):
    """`[oauth]`: how gatepost obtains tokens for the upstream, for `represent = "token"`."""

    token_url: Url
    """The provider's token endpoint."""
    grant: Grant
    """client_credentials: as the application, for any user. refresh_token: by each user's own, from the users file."""
    client_id: str = Field(min_length=1)
    """Who gatepost is to the provider."""
    client_secret_file: File | None = None
    """A file that holds the secret for it, and nothing else."""
    scope: str = ""
    """What is asked for."""
    ca: PemFile | None = None
    """PEM file of the authorities to trust for this URL; without it the system's are."""


class RelayCheckSettings(Section):
    """`[relay_check]`: would the upstream relay for strangers? It is asked where mail may come without a login."""

    domain: Domain = "example.com"
    """A domain that is not the upstream's own."""
    seconds: Seconds = Field(default=3600.0, ge=60, le=86_400)
    """How often it is asked again."""
    local_domains: tuple[Domain, ...] = ()
    """The upstream's own domains. If it would relay, mail without a login is let through to these alone."""


class SmtpSettings(Section):
    """`[smtp]`: how the protocol is spoken."""

    hostname: HostName = ""
    """The name in the greeting; without it, the machine's own."""
    lone_newlines: LoneNewlines = LoneNewlines.NORMALISE
    """What becomes of a CR or LF that stands alone in a message: it is made a CRLF, or the message is refused."""


class LimitSettings(Section):
    """`[limits]`: what one client, and all together, may take."""

    conversations: Count = Field(default=10_000, ge=1, le=1_000_000)
    """At once, in all. Lowered at start to what the file-descriptor limit allows (two each)."""
    conversations_per_client: Count = Field(default=100, ge=1, le=1_000_000)
    """At once, per IPv4 address or IPv6 /64."""
    uncounted: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    """Networks whose addresses stand for many clients: the limit per client is not applied to them."""
    recipients: Count = Field(default=1_000, ge=100, le=1_000_000)
    """Per message (RFC 5321 section 4.5.3.1.8: at least 100)."""
    message_bytes: Count | None = Field(default=None, ge=65_536)
    """Larger messages are refused; without it, the upstream's SIZE is the only limit."""
    errors: Count = Field(default=20, ge=1, le=1_000)
    """Refused commands in one conversation before it is closed."""
    commands_before_login: Count = Field(default=100, ge=10, le=10_000)
    """Commands without a login or a message before a conversation is closed."""
    login_failures: Count = Field(default=3, ge=3, le=100)
    """Failed logins in one conversation before it is closed (RFC 4954 section 9: at least 3)."""


class TimeoutSettings(Section):
    """`[timeouts]`: seconds, after RFC 5321 section 4.5.3.2."""

    command: Seconds = Field(default=300.0, ge=1)
    """For the client's next command, and its next answer inside AUTH."""
    handshake: Seconds = Field(default=30.0, ge=1)
    """For a TLS handshake, on either leg."""
    body: Seconds = Field(default=180.0, ge=1)
    """For each further 4 KiB of a message."""
    upstream_connect: Seconds = Field(default=10.0, ge=0.1)
    """For the TCP connection to the upstream."""
    upstream_login: Seconds = Field(default=30.0, ge=0.1)
    """For each reply of the upstream up to and including AUTH."""
    upstream_reply: Seconds = Field(default=300.0, ge=0.1)
    """For each further reply of the upstream."""
    upstream_accept: Seconds = Field(default=600.0, ge=0.1)
    """For the upstream's reply to the end of a message."""
    backend: Seconds = Field(default=15.0, ge=0.1, le=300)
    """For the users file, hashing, and the identity provider, each time one of them is asked."""
    drain: Seconds = Field(default=30.0, ge=0)
    """For conversations under way when gatepost is told to stop."""


class Settings(Section):
    """The whole file."""

    upstream: UpstreamSettings
    tls: TlsSettings
    listeners: tuple[ListenerSettings, ...] = Field(min_length=1)
    policies: tuple[PolicySettings, ...] = ()
    users: UsersSettings | None = None
    tokens: TokenSettings | None = None
    oauth: OauthSettings | None = None
    relay_check: RelayCheckSettings = RelayCheckSettings()
    smtp: SmtpSettings = SmtpSettings()
    limits: LimitSettings = LimitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    observe: ObserveSettings = ObserveSettings()
    log: LogSettings = LogSettings()
