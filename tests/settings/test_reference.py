"""The reference page of the settings."""

import re
from pathlib import Path

from gatepost.settings import (
    CertificateSettings,
    LimitSettings,
    ListenerSettings,
    LogSettings,
    ObserveSettings,
    Section,
    SmtpSettings,
    TimeoutSettings,
    TlsSettings,
    UpstreamSettings,
)
from gatepost.settings.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_reference_page_is_fresh() -> None:
    assert PAGE.read_text() == render(), "run: python -m gatepost.settings.reference > docs/settings.md"


def test_the_reference_page_has_every_key() -> None:
    tables: list[type[Section]] = [
        UpstreamSettings,
        TlsSettings,
        CertificateSettings,
        ListenerSettings,
        SmtpSettings,
        LimitSettings,
    ]
    tables += [TimeoutSettings, ObserveSettings, LogSettings]
    keys = [key for table in tables for key in table.model_fields if key != "certificates"]  # a table of its own
    assert re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE) == keys
