"""Settings for observers under test: nothing of them is read but names."""

from pathlib import Path

from gatepost.settings import (
    Address,
    ListenerSettings,
    ListenerTls,
    LogSettings,
    ObserveSettings,
    Settings,
    TlsSettings,
    UpstreamSettings,
    UpstreamTls,
)


def settings_with(*listeners: str, log: LogSettings | None = None, observe: ObserveSettings | None = None) -> Settings:
    return Settings(
        upstream=UpstreamSettings(address=Address("127.0.0.1", 25), tls=UpstreamTls.NEVER),
        tls=TlsSettings(certificate=Path("cert.pem"), key=Path("key.pem")),
        listeners=tuple(
            ListenerSettings(name=name, bind=(Address("127.0.0.1", 0),), tls=ListenerTls.STARTTLS) for name in listeners
        ),
        log=log or LogSettings(),
        observe=observe or ObserveSettings(),
    )
