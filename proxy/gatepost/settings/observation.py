"""The tables of the settings file that say what is observed and how it is told. As in `models`."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from gatepost.settings.section import Section
from gatepost.settings.values import Address, BindAddress, File, Label, Network

BUILT_IN_NETWORKS = ("loopback", "private", "public")  # of clients in none of `[[observe.networks]]`


class LogFormat(Enum):
    """How a log event is written."""

    AUTO = "auto"  # JSON unless the log goes to a terminal
    JSON = "json"
    CONSOLE = "console"


class LogNames(Enum):
    """Whose names the fields of a log event have."""

    OTEL = "otel"  # OpenTelemetry's semantic conventions
    ECS = "ecs"  # the Elastic Common Schema


class LogLogins(Enum):
    """How a login name is written in the log."""

    PLAIN = "plain"
    HASHED = "hashed"
    NONE = "none"


class LogLevel(Enum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class NetworkSettings(Section):
    """`[[observe.networks]]`: a name for some of the clients, in metrics. The first that fits counts."""

    name: Label
    """A metric label; lower case. Whoever is in none of them is `loopback`, `private` or `public`."""
    addresses: tuple[Network, ...] = Field(min_length=1)
    """Whom it is for."""


class ObserveSettings(Section):
    """`[observe]`: where the status page, /metrics, /livez and /readyz are served."""

    bind: BindAddress = Address("127.0.0.1", 9587)
    """Whoever reaches it can read the metrics, and the addresses of clients that were refused; no user names."""
    networks: tuple[NetworkSettings, ...] = Field(default=(), max_length=32)
    """Names for networks of clients, such as the printers'."""


class LogSettings(Section):
    """`[log]`: one event a line on standard error."""

    format: LogFormat = LogFormat.AUTO
    """auto: JSON, but lines for people when it goes to a terminal."""
    level: LogLevel = LogLevel.INFO
    """Events below this are left out."""
    names: LogNames = LogNames.OTEL
    """otel: OpenTelemetry's names for the fields of JSON. ecs: those of the Elastic Common Schema."""
    logins: LogLogins = LogLogins.PLAIN
    """Login names that came over TLS. hashed: by HMAC-SHA256, so that equal ones can be told. none: left out."""
    clear_logins: LogLogins = LogLogins.HASHED
    """Login names of attempts that were refused on a clear channel."""
    hash_key_file: File | None = None
    """A file that holds the key for hashing, and nothing else; without it, each start makes one of its own."""
