"""fail2ban's filter on what a real gatepost logs: it sees who tries passwords, and nobody else."""

from __future__ import annotations

import re
import smtplib
import ssl
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from e2e.clients import NAME
from e2e.gateway import Gatepost
from e2e.people import PASSWORD, USER
from e2e.spoken import PATIENCE_SECONDS
from gatepost.facts import AuthEnded, AuthResult, Channel, Mechanism, Peer
from gatepost.observe import logs
from gatepost.observe.observer import Observer
from gatepost.settings import LogFormat, LogNames, LogSettings
from observe.settings_made import settings_with
from peers import require

FAIL2BAN = Path(__file__).parents[2] / "deploy" / "fail2ban"
# Names that try to look like the end of one event and the whole of another.
FORGED = (
    'x","gatepost.auth.result":"rejected"}',
    'x"}\n{"conversation.id":"0123456789abcdef","gatepost.listener":"mx","client.address":"192.0.2.1","client.port":',
    'x","timestamp":"2020-01-01T00:00:00.000000Z"}',
)


class Night:
    """What happened to a gatepost, and where its log stands."""

    def __init__(self, gate: Gatepost, folder: Path, log: Path) -> None:
        self._gate = gate
        self._trust = ssl.create_default_context(cafile=folder / "ca.pem")
        self._since = gate.settled()
        self._log = log

    def attempt(self, user: str, password: str, *, mechanism: str = "PLAIN", tls: bool = True) -> int:
        """The code that AUTH is answered with, when gatepost has logged it."""
        position = self._gate.settled()
        with smtplib.SMTP("127.0.0.1", self._gate.ports["submission"], timeout=PATIENCE_SECONDS) as session:
            session._host = NAME  # type: ignore[attr-defined]  # noqa: SLF001  what the certificate must carry
            if tls:
                session.starttls(context=self._trust)
            session.ehlo()
            session.user, session.password = user, password
            answer = session.auth_plain()
            code, _ = session.docmd("AUTH", f"{mechanism} {b64encode(answer.encode()).decode()}")
        self._gate.event("authentication", position)
        return code

    def matched(self, mode: str, head: str = "") -> int:
        """How many lines the filter takes for a failed login."""
        lines = self._gate.log.lines(self._since)
        self._log.write_text("".join(f"{head}{line}\n" for line in lines))
        found = failures(self._log, mode)
        assert set(found) <= {"127.0.0.1"}
        return len(found)

    def results(self) -> list[object]:
        return [event["gatepost.auth.result"] for event in self._gate.events("authentication", self._since)]


def failures(log: Path, mode: str) -> list[str]:
    """The address of each line that the filter takes for a failed login; every line must be given a date."""
    regex = require("fail2ban-regex", package="fail2ban")
    filter_file = f"{FAIL2BAN / 'filter.d' / 'gatepost.conf'}[mode={mode}]"
    command = [regex, "--config", str(FAIL2BAN), str(log), filter_file]
    said = spoken(command)
    found = re.search(r"^Lines: (\d+) lines, 0 ignored, (\d+) matched, (\d+) missed", said, re.MULTILINE)
    assert found, said
    assert int(found[1]) == len(log.read_text().splitlines())
    assert f"[{found[1]}] " in said[said.index("Date template hits") :]
    addresses = spoken([*command, "--out", "ip"]).split()
    assert len(addresses) == int(found[2])
    return addresses


def spoken(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS).stdout


@pytest.fixture
def night(gate: Gatepost, folder: Path, tmp_path: Path) -> Night:
    require("fail2ban-regex", package="fail2ban")
    return Night(gate, folder, tmp_path / "gatepost.log")


def test_wrong_passwords_are_found_and_nothing_else(night: Night) -> None:
    assert night.attempt(USER, PASSWORD) == 235
    assert night.attempt(USER, "wrong") == 535
    assert night.attempt("eve", "wrong") == 535
    assert night.attempt(USER, PASSWORD, tls=False) == 530
    assert night.attempt(USER, PASSWORD, mechanism="NTLM") == 504
    assert sorted(map(str, night.results())) == [
        "accepted", "clear_refused", "mechanism_refused", "rejected", "rejected"
    ]  # fmt: skip
    assert night.matched("normal") == 2
    assert night.matched("aggressive") == 4


def test_what_stands_in_front_of_a_line_does_not_matter(night: Night) -> None:
    assert night.attempt(USER, "wrong") == 535
    assert night.matched("normal", head="mail gatepost[4711]: ") == 1


@pytest.mark.parametrize("names", LogNames)
def test_the_names_of_the_fields_do_not_matter(tmp_path: Path, names: LogNames) -> None:
    file = tmp_path / "gatepost.log"
    with file.open("w") as stream:
        log = LogSettings(format=LogFormat.JSON, names=names)
        observer = Observer(settings_with("mx", log=log), logs.configure(log, stream))
        for address, user in (("192.0.2.7", "eve"), ("2001:db8::7", "Zoë")):
            recorder = observer.conversation("mx", Peer(address, 4711, loopback=False))
            recorder.record(AuthEnded(Mechanism.PLAIN, Channel.TLS, AuthResult.REJECTED, user))
        observer.finish()
    assert failures(file, "normal") == ["192.0.2.7", "2001:db8::7"]


@pytest.mark.parametrize("name", FORGED)
def test_a_name_cannot_say_that_somebody_else_failed(night: Night, name: str) -> None:
    """Such a login is refused, and counted once, for the address that it came from."""
    assert night.attempt(name, "wrong") == 535
    assert night.matched("normal") == 1
    assert night.attempt(name, "wrong", tls=False) == 530
    assert night.matched("normal") == 1


def test_the_jail_names_the_filter_and_is_off(tmp_path: Path) -> None:
    jail = (FAIL2BAN / "jail.d" / "gatepost.conf").read_text()
    assert "\nenabled = false\n" in jail
    assert "\nfilter = gatepost\n" in jail
    assert (FAIL2BAN / "filter.d" / "gatepost.conf").exists()
