"""SIGTERM with a large message under way to a real Postfix."""

import signal
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.clients import Door, connected
from e2e.gateway import Gatepost, running
from e2e.people import PASSWORD, USER, large
from e2e.postfix import Postfix

MESSAGE = large(10_000_000)
HALF = len(MESSAGE) // 2


@pytest.fixture
def gatepost(postfix: Postfix, folder: Path) -> Iterator[Gatepost]:
    settings = {"address": f"127.0.0.1:{postfix.ports.clear}", "tls": "never", "probe_seconds": 3600}
    with running(folder, settings) as gatepost:
        gatepost.ready()
        yield gatepost


@pytest.fixture
def client(gatepost: Gatepost, folder: Path) -> Iterator[smtplib.SMTP]:
    """In the middle of a message."""
    door = Door(gatepost.ports["submissions"], implicit=True, authority=folder / "ca.pem", folder=folder)
    client = connected(door)
    try:
        client.login(USER, PASSWORD)
        client.mail("ann@example.org")
        client.rcpt("bob@example.com")
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE[:HALF])
        yield client
    finally:
        client.close()


def test_the_message_is_finished_and_nothing_is_begun(
    client: smtplib.SMTP, gatepost: Gatepost, postfix: Postfix
) -> None:
    gatepost.process.send_signal(signal.SIGTERM)
    gatepost.event("draining")
    assert gatepost.page("/readyz") == (503, "stopping\n")
    client.send(MESSAGE[HALF:] + b".\r\n")
    assert client.getreply()[0] == 250
    assert client.getreply() == (421, b"4.3.2 Service shutting down, closing connection")
    assert gatepost.wait() == 0
    assert gatepost.event("stopped")["gatepost.cut_off"] == 0
    assert gatepost.event("conversation")["gatepost.ending"] == "drained"
    assert postfix.mailroom.next().message == MESSAGE


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_and_postfix_keeps_nothing(
    second: signal.Signals, client: smtplib.SMTP, gatepost: Gatepost, postfix: Postfix
) -> None:
    heard = len(postfix.log)
    gatepost.process.send_signal(signal.SIGTERM)
    gatepost.event("draining")
    gatepost.process.send_signal(second)
    assert gatepost.wait() == 0
    assert gatepost.event("conversation")["gatepost.ending"] == "cut_off"
    postfix.log.expect(r"lost connection after DATA \(", heard)
    assert not any("queue active" in line for line in postfix.log.lines(heard))
