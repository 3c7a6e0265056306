"""SIGHUP: the settings are read again, hold for new conversations, and are taken whole or not at all."""

from __future__ import annotations

import signal
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.clients import NAME, Door, connected
from e2e.gateway import Event, Gatepost, running
from e2e.people import HEADER, PASSWORD, USER
from e2e.postfix import Postfix
from e2e.spoken import PATIENCE_SECONDS

Change = Callable[[str], str]


class Governed:
    """A gatepost whose settings file is changed while it runs."""

    def __init__(self, gate: Gatepost, folder: Path) -> None:
        self.gate = gate
        self._folder = folder

    def change(self, change: Change, expected: str) -> Event:
        """Change the file, send SIGHUP, and wait for the event."""
        file, since = self._folder / "gatepost.toml", len(self.gate.log)
        file.write_text(change(file.read_text()))
        self.gate.process.send_signal(signal.SIGHUP)
        return self.gate.event(expected, since)

    def greeting(self) -> str:
        with smtplib.SMTP(timeout=PATIENCE_SECONDS) as client:
            return client.connect(NAME, self.gate.ports["submission"])[1].decode()

    def log_in(self) -> smtplib.SMTP:
        port = self.gate.ports["submissions"]
        client = connected(Door(port, implicit=True, authority=self._folder / "ca.pem", folder=self._folder))
        client.login(USER, PASSWORD)
        return client

    def taken(self) -> bool:
        return "\ngatepost_settings_last_reload_successful 1.0\n" in self.gate.page("/metrics")[1]


@pytest.fixture
def governed(postfix: Postfix, folder: Path) -> Iterator[Governed]:
    upstream = {"address": f"127.0.0.1:{postfix.ports.clear}", "tls": "never", "probe_seconds": 3600}
    with running(folder, upstream, more={"smtp": {"hostname": "before.example"}}) as gate:
        gate.ready()
        yield Governed(gate, folder)


def renamed(text: str) -> str:
    return text.replace("before.example", "after.example")


def test_new_conversations_get_what_is_new_and_those_under_way_go_on(governed: Governed, postfix: Postfix) -> None:
    with governed.log_in() as client:
        assert governed.greeting().startswith("before.example ")
        governed.change(renamed, "settings loaded")
        assert governed.greeting().startswith("after.example ")
        client.sendmail("ann@example.org", ["bob@example.com"], HEADER)
    assert postfix.mailroom.next().message == HEADER
    with governed.log_in() as client:
        client.sendmail("ann@example.org", ["bob@example.com"], HEADER)
    assert postfix.mailroom.next().message == HEADER


def test_a_bad_file_is_refused_whole(governed: Governed) -> None:
    event = governed.change(lambda text: renamed(text).replace('tls = "never"', 'tls = "nver"', 1), "settings refused")
    assert "upstream.tls" in str(event["gatepost.error.message"])
    assert not governed.taken()
    assert governed.greeting().startswith("before.example ")
    governed.change(lambda text: text.replace('tls = "nver"', 'tls = "never"'), "settings loaded")
    assert governed.taken()
    assert governed.greeting().startswith("after.example ")


def test_what_needs_a_restart_is_refused_and_named(governed: Governed) -> None:
    event = governed.change(lambda text: renamed(text).replace('"debug"', '"info"'), "settings refused")
    assert event["gatepost.error.message"] == "a restart is needed for what has changed in: log"
    assert governed.greeting().startswith("before.example ")
    event = governed.change(
        lambda text: text.replace('"info"', '"debug"').replace('name = "mx"', 'name = "smtp"'), "settings refused"
    )
    assert "listeners (name, bind)" in str(event["gatepost.error.message"])


def test_another_upstream_is_used_at_once(governed: Governed, postfix: Postfix) -> None:
    ports = postfix.ports
    heard = len(postfix.log)
    change = 'tls = "starttls"\nca = "ca.pem"\nserver_name = "legacy.example"'
    governed.change(
        lambda text: text.replace(f":{ports.clear}", f":{ports.starttls}").replace('tls = "never"', change, 1),
        "settings loaded",
    )
    with governed.log_in() as client:
        client.sendmail("ann@example.org", ["bob@example.com"], HEADER)
    assert b"using TLSv1.3" in postfix.mailroom.next().trace
    postfix.log.expect("AUTH PLAIN", heard)
