"""What an operator sets: one TOML file, read whole, checked whole, never written.

`values` are the forms that single values take, `models` the tables and their defaults, `file` reads and checks.
`consistency` and `authentication` look at keys together, through `draft`; `ways` says where each login can lead.
Every mistake is reported at once, with its dotted key, what was found and what was expected. This package reads
files to check them; it opens no sockets and asks no resolver.
"""

from gatepost.settings.file import load
from gatepost.settings.models import (
    Auth,
    CertificateSettings,
    ClientIdentity,
    Grant,
    LimitSettings,
    ListenerSettings,
    ListenerTls,
    LogFormat,
    LoginSettings,
    LogLevel,
    LogSettings,
    LoneNewlines,
    OauthSettings,
    ObserveSettings,
    PolicySettings,
    Represent,
    Section,
    Settings,
    SmtpSettings,
    TimeoutSettings,
    TlsProfile,
    TlsSettings,
    TokenSettings,
    UpstreamSettings,
    UpstreamTls,
    UsersSettings,
)
from gatepost.settings.problems import Problem, SettingsError, UnknownKey
from gatepost.settings.values import STRENGTH, Address

__all__ = [
    "STRENGTH",
    "Address",
    "Auth",
    "CertificateSettings",
    "ClientIdentity",
    "Grant",
    "LimitSettings",
    "ListenerSettings",
    "ListenerTls",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "LoginSettings",
    "LoneNewlines",
    "OauthSettings",
    "ObserveSettings",
    "PolicySettings",
    "Problem",
    "Represent",
    "Section",
    "Settings",
    "SettingsError",
    "SmtpSettings",
    "TimeoutSettings",
    "TlsProfile",
    "TlsSettings",
    "TokenSettings",
    "UnknownKey",
    "UpstreamSettings",
    "UpstreamTls",
    "UsersSettings",
    "load",
]
