"""What an operator sets: one TOML file, read whole, checked whole, never written.

`values` are the forms that single values take, `models` the tables and their defaults, `file` reads and checks.
Every mistake is reported at once, with its dotted key, what was found and what was expected. This package reads
files to check them; it opens no sockets and asks no resolver.
"""

from gatepost.settings.file import load
from gatepost.settings.models import (
    Auth,
    CertificateSettings,
    LimitSettings,
    ListenerSettings,
    ListenerTls,
    LogFormat,
    LogLevel,
    LogSettings,
    LoneNewlines,
    ObserveSettings,
    Section,
    Settings,
    SmtpSettings,
    TimeoutSettings,
    TlsProfile,
    TlsSettings,
    UpstreamSettings,
    UpstreamTls,
)
from gatepost.settings.problems import Problem, SettingsError, UnknownKey
from gatepost.settings.values import Address

__all__ = [
    "Address",
    "Auth",
    "CertificateSettings",
    "LimitSettings",
    "ListenerSettings",
    "ListenerTls",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "LoneNewlines",
    "ObserveSettings",
    "Problem",
    "Section",
    "Settings",
    "SettingsError",
    "SmtpSettings",
    "TimeoutSettings",
    "TlsProfile",
    "TlsSettings",
    "UnknownKey",
    "UpstreamSettings",
    "UpstreamTls",
    "load",
]
