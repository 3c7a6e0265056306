"""A thousand mixed sessions: each counter is the count of the log events that it stands for; nothing is left over."""

from __future__ import annotations

import json
import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from e2e.agreement import as_the_log_has_them, counted_from
from e2e.clients import NAME
from e2e.gateway import Gatepost, running
from e2e.people import HEADER, PASSWORD, USER
from e2e.postfix import Postfix
from e2e.spoken import PATIENCE_SECONDS

SESSIONS = 1000
AT_ONCE = 4
GOOD = "PLAIN " + b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
WRONG = "PLAIN " + b64encode(f"\0{USER}\0wrong".encode()).decode()


@dataclass(frozen=True)
class House:
    """Where the doors are, and how TLS is spoken there."""

    gate: Gatepost
    trust: ssl.SSLContext
    older: ssl.SSLContext

    def clear(self, listener: str = "submission") -> smtplib.SMTP:
        client = smtplib.SMTP(NAME, self.gate.ports[listener], timeout=PATIENCE_SECONDS)
        client.ehlo("client.example")
        return client

    def secured(self, *, older: bool = False) -> smtplib.SMTP:
        client = self.clear()
        client.starttls(context=self.older if older else self.trust)
        client.ehlo("client.example")
        return client

    def implicit(self) -> smtplib.SMTP:
        client = smtplib.SMTP_SSL(NAME, self.gate.ports["submissions"], timeout=PATIENCE_SECONDS, context=self.trust)
        client.ehlo("client.example")
        return client

    def say(self, listener: str, octets: bytes) -> None:
        """And hear everything, to the end."""
        with socket.create_connection(("127.0.0.1", self.gate.ports[listener]), PATIENCE_SECONDS) as raw:
            raw.sendall(octets)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass


def good(house: House) -> None:
    with house.secured() as client:
        assert client.docmd("AUTH", GOOD)[0] == 235
        client.sendmail("ann@example.org", ["bob@example.com", "cem@example.com"], HEADER)


def good_by_login(house: House) -> None:
    with house.implicit() as client:
        client.user, client.password = USER, PASSWORD
        client.auth("LOGIN", client.auth_login)
        for _ in range(2):
            client.sendmail("ann@example.org", ["bob@example.com"], HEADER)


def good_by_tls_1_2(house: House) -> None:
    with house.secured(older=True) as client:
        assert client.docmd("AUTH", GOOD)[0] == 235


def guess(house: House) -> None:
    client = house.implicit()
    assert [client.docmd("AUTH", WRONG)[0] for _ in range(3)] == [535] * 3
    assert client.getreply()[0] == 421
    client.close()


def stay_clear(house: House) -> None:
    with house.clear() as client:
        for argument in (GOOD, "LOGIN", "CRAM-MD5", "NEWER"):
            assert client.docmd("AUTH", argument)[0] == 530


def break_off(house: House) -> None:
    client = house.secured()
    assert client.docmd("AUTH", "PLAIN ///=")[0] == 501
    assert client.docmd("AUTH", "LOGIN")[0] == 334
    assert client.docmd("*")[0] == 501
    assert client.docmd("AUTH", "LOGIN")[0] == 334
    client.close()


def be_a_server(house: House) -> None:
    with house.clear("mx") as client:
        client.sendmail("ann@example.org", ["bob@example.net"], HEADER)


def leave_in_the_message(house: House) -> None:
    client = house.secured()
    assert client.docmd("AUTH", GOOD)[0] == 235
    for command in ("MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.com>", "DATA"):
        client.docmd(command)
    client.send(HEADER)
    client.close()


def be_senseless(house: House) -> None:
    with house.clear() as client:
        for command in ("FOO", "XCLIENT NAME=x", "MAIL FROM:<>", "STARTTLS now", "VRFY \x7f\x01"):
            client.docmd(command)
        client.docmd("NOOP " + "x" * 5000)


def fail_to_find_tls(house: House) -> None:
    house.say("submissions", b"EHLO client.example\r\n")


def look_in(house: House) -> None:
    house.say("submissions", b"")


def look_in_and_hear_the_greeting(house: House) -> None:
    house.say("submission", b"")


def browse(house: House) -> None:
    house.say("submission", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def begin_with_tls(house: House) -> None:
    house.say("submission", b"\x16\x03\x01\x02\x00\x01")


def inject(house: House) -> None:
    house.say("submission", b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<x@example.org>\r\n")


SESSION: tuple[Callable[[House], None], ...] = (
    good,
    good_by_login,
    good_by_tls_1_2,
    guess,
    stay_clear,
    break_off,
    be_a_server,
    leave_in_the_message,
    be_senseless,
    fail_to_find_tls,
    look_in,
    look_in_and_hear_the_greeting,
    browse,
    begin_with_tls,
    inject,
)


def test_counters_and_log_agree_over_a_thousand_mixed_sessions(postfix: Postfix, folder: Path) -> None:
    settings = {"address": f"127.0.0.1:{postfix.ports.clear}", "tls": "never", "probe_seconds": 3600}
    with running(folder, settings) as gate, ThreadPoolExecutor(AT_ONCE) as pool:
        gate.ready()
        trust, older = (ssl.create_default_context(cafile=folder / "ca.pem") for _ in range(2))
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        house = House(gate, trust, older)
        list(pool.map(lambda number: SESSION[number % len(SESSION)](house), range(SESSIONS)))
        gate.log.expect('"event":"conversation"', skip=SESSIONS - 1)
        counts = gate.counts()
        events = [json.loads(line) for line in gate.log.lines()]
    ended = [event["conversation.id"] for event in events if event["event"] == "conversation"]
    assert len(ended) == len(set(ended)) == SESSIONS
    assert as_the_log_has_them(counts) == counted_from(events)
    kinds = {name for name, *_ in counts}
    assert {"violations_total", "limits_hit_total", "tls_handshake_failures_total", "messages_total"} <= kinds
