"""The reference page of the settings."""

import re
from pathlib import Path

import pytest

from gatepost.settings import (
    CertificateSettings,
    LimitSettings,
    ListenerSettings,
    LoginSettings,
    LogSettings,
    NetworkSettings,
    OauthSettings,
    ObserveSettings,
    PolicySettings,
    RelayCheckSettings,
    Section,
    Settings,
    SmtpSettings,
    TimeoutSettings,
    TlsSettings,
    TokenSettings,
    UpstreamSettings,
    UsersSettings,
)
from gatepost.settings.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_reference_page_is_fresh() -> None:
    assert PAGE.read_text() == render(), "run: python -m gatepost.settings.reference > docs/settings.md"


def test_the_reference_page_has_every_key() -> None:
    tables: list[type[Section]] = [UpstreamSettings, LoginSettings, TlsSettings, CertificateSettings, ListenerSettings]
    tables += [PolicySettings, UsersSettings, TokenSettings, OauthSettings]
    tables += [
        RelayCheckSettings,
        SmtpSettings,
        LimitSettings,
        TimeoutSettings,
        ObserveSettings,
        NetworkSettings,
        LogSettings,
    ]
    own_table = {(UpstreamSettings, "logins"), (TlsSettings, "certificates"), (ObserveSettings, "networks")}
    keys = [key for table in tables for key in table.model_fields if (table, key) not in own_table]
    assert re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE) == keys


def test_the_reference_page_says_which_tables_must_be_there() -> None:
    required = [name for name, field in Settings.model_fields.items() if field.is_required()]
    (sentence,) = re.findall(r"A file must have ([^;]*);", PAGE.read_text())
    assert re.findall(r"\[+(\w+)\]", sentence) == required


@pytest.mark.parametrize(
    "row",
    [
        "| `algorithms` | a list of one or more, each the name of a signature with a public key, like",
        '| `relay` | a list, each item "CRAM-MD5", "SCRAM-SHA-1" or "SCRAM-SHA-256" | none |',
        '| `jwks_url` | a URL of at most 2000 characters that begins with "https://" and a host, without a user',
        "| `file` | the path of a file | must be set |",
        '| `grant` | "client_credentials" or "refresh_token" | must be set |',
        '| `users` | a list, each item a login, or "*@" and a domain for all of its logins | none |',
        '| `user_claim` | a text | `"email"` |',
        "| `end_conversations` | true or false | `true` |",
    ],
)
def test_each_kind_of_value_has_words(row: str) -> None:
    assert f"\n{row}" in PAGE.read_text()


def test_a_list_as_a_default_is_written_as_toml_has_it() -> None:
    assert '| `["RS256", "ES256"]` | Signatures that are accepted. |' in PAGE.read_text()
