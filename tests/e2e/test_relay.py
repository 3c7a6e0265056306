"""In front of a Postfix that relays for everybody on its own machine: gatepost makes no open relay of it."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.clients import NAME, Door, Login, Mail, smtplib_client
from e2e.gateway import Gatepost, running
from e2e.people import HEADER, PASSWORD, USER
from e2e.postfix import Postfix
from e2e.spoken import PATIENCE_SECONDS

FOREIGN, OWN = "<victim@example.org>", "<bob@example.net>"


@contextmanager
def in_front(postfix: Postfix, folder: Path, local_domains: list[str]) -> Iterator[Gatepost]:
    upstream = {"address": f"127.0.0.1:{postfix.extra['trusting']}", "tls": "never", "probe_seconds": 3600}
    with running(folder, upstream, more={"relay_check": {"local_domains": local_domains}}) as gate:
        gate.ready()
        yield gate


def answers(gate: Gatepost, *recipients: str) -> list[int]:
    with smtplib.SMTP(NAME, gate.ports["mx"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("mx.example.org")
        client.docmd("MAIL", "FROM:<spammer@example.org>")
        return [client.docmd("RCPT", f"TO:{recipient}")[0] for recipient in recipients]


def test_strangers_reach_the_servers_own_domains_and_nothing_else(postfix: Postfix, folder: Path) -> None:
    with in_front(postfix, folder, ["example.net"]) as gate:
        assert gate.events("upstream relays")
        assert answers(gate, OWN, FOREIGN, "<victim%example.org@example.net>") == [250, 554, 554]
        with smtplib.SMTP(NAME, gate.ports["mx"], timeout=PATIENCE_SECONDS) as client:
            client.sendmail("ann@example.org", ["bob@example.net"], HEADER)
        assert postfix.mailroom.next().message == HEADER
        assert gate.page("/readyz") == (200, "ready\n")


def test_without_its_domains_nothing_passes_and_it_is_not_ready(postfix: Postfix, folder: Path) -> None:
    with in_front(postfix, folder, []) as gate:
        assert answers(gate, OWN, FOREIGN) == [451, 451]
        status, text = gate.page("/readyz")
        assert status == 503
        assert text.startswith("relay: ")
        assert "\ngatepost_upstream_relays 1.0\n" in gate.page("/metrics")[1]


def test_who_has_logged_in_sends_anywhere(postfix: Postfix, folder: Path, tmp_path: Path) -> None:
    with in_front(postfix, folder, ["example.net"]) as gate:
        door = Door(gate.ports["submissions"], implicit=True, authority=folder / "ca.pem", folder=tmp_path)
        outcome = smtplib_client(door, Login("PLAIN", USER, PASSWORD), Mail(HEADER, recipients=("bob@example.com",)))
        assert outcome.worked, outcome.said
        assert postfix.mailroom.next().message == HEADER


def test_a_server_that_does_not_relay_is_left_to_judge(postfix: Postfix, gate: Gatepost) -> None:
    assert gate.events("upstream does not relay")
    postfix.settle()
    assert answers(gate, OWN, FOREIGN) == [250, 554]
    assert gate.page("/readyz") == (200, "ready\n")
