"""What an operator sets: one TOML file, read whole, checked whole, never written.

`values` are the forms that single values take, `models` and `observation` the tables and their defaults, `file` reads
and checks. `consistency` and `authentication` look at keys together, through `draft`; `ways` says where each login can
lead. Every mistake is reported at once, with its dotted key, what was found and what was expected. This package reads
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
    LoginSettings,
    LoneNewlines,
    OauthSettings,
    PolicySettings,
    RelayCheckSettings,
    Represent,
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
from gatepost.settings.observation import (
    BUILT_IN_NETWORKS,
    LogFormat,
    LogLevel,
    LogLogins,
    LogNames,
    LogSettings,
    NetworkSettings,
    ObserveSettings,
)
from gatepost.settings.problems import Problem, SettingsError, UnknownKey
from gatepost.settings.section import Section
from gatepost.settings.values import STRENGTH, Address

__all__ = [
    "BUILT_IN_NETWORKS",
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
    "LogLogins",
    "LogNames",
    "LogSettings",
    "LoginSettings",
    "LoneNewlines",
    "NetworkSettings",
    "OauthSettings",
    "ObserveSettings",
    "PolicySettings",
    "Problem",
    "RelayCheckSettings",
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
