"""deploy/gatepost.toml is good as it stands, and every line in it that can be switched on is good too."""

import re
import tomllib
from pathlib import Path

import pytest
import trustme

from gatepost.settings import Section, Settings, load

EXAMPLE = Path(__file__).parents[1] / "deploy" / "gatepost.toml"
# For these the example sends its reader to docs/settings.md: they open ways of logging in that few need.
LEFT_OUT = {"certificate", "key", "mechanisms", "relay", "represent", "service_user", "service_password_file"}
LEFT_OUT |= {"login_template", "logins"}
SWITCHED_OFF = re.compile(r"^#(?=[a-z_]+ = |\[)", re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = trustme.CA()
    for name, host in (("tls", "mail.example.org"), ("mail.example.net", "mail.example.net")):
        issued = authority.issue_cert(host)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.crt")
    for name in ("upstream-ca.pem", "client-ca.pem"):
        authority.cert_pem.write_to_path(tmp_path / name)
    (tmp_path / "hash.key").write_text("a key of some length\n")
    (tmp_path / "hash.key").chmod(0o600)
    return tmp_path


def load_text(folder: Path, text: str) -> Settings:
    file = folder / "gatepost.toml"
    file.write_text(text)
    return load(file)


def test_the_example_is_good(folder: Path) -> None:
    settings = load_text(folder, EXAMPLE.read_text())
    assert [listener.name for listener in settings.listeners] == ["submission", "submissions"]


def test_the_example_with_everything_switched_on_is_good(folder: Path) -> None:
    text = SWITCHED_OFF.sub("", EXAMPLE.read_text()).replace('tls = "never"', 'tls = "starttls"')
    settings = load_text(folder, text)
    assert [listener.name for listener in settings.listeners] == ["submission", "submissions", "smtp"]


def test_the_example_shows_every_key_with_its_default(folder: Path) -> None:
    text = SWITCHED_OFF.sub("", EXAMPLE.read_text()).replace('tls = "never"', 'tls = "starttls"')
    shown, settings = tomllib.loads(text), load_text(folder, text)
    sections = {name: section for name, section in settings if isinstance(section, Section)}
    for name, section in (*sections.items(), ("listeners", settings.listeners[0])):
        table = shown["listeners"][0] if name == "listeners" else shown[name]
        fields = type(section).model_fields
        assert set(table) == set(fields) - (LEFT_OUT if name == "upstream" else set()), name
        for key, field in fields.items():
            if field.default and not field.is_required():  # of keys without a default, the line is an example
                assert getattr(section, key) == field.default, f"{name}.{key}"
