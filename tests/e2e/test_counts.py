"""What was played, what /metrics counts and what the log tells are the same, to the last unit."""

import smtplib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from e2e.clients import NAME, Door, connected
from e2e.gateway import Event, Gatepost, Series, running
from e2e.people import PASSWORD, TRICKY, USER
from e2e.postfix import Postfix
from e2e.spoken import PATIENCE_SECONDS

BLOB = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
WRONG = b64encode(f"\0{USER}\0wrong".encode()).decode()
SENT = TRICKY.replace(b"\r\n.", b"\r\n..") + b".\r\n"  # as it crosses the wire (RFC 5321 section 4.5.2)
CONVERSATIONS = 7

EXPECTED: dict[Series, float] = {
    ("conversations_total", "submission"): 3,
    ("conversations_total", "submissions"): 3,
    ("conversations_total", "mx"): 1,
    ("conversations_ended_total", "quit", "submission"): 3,
    ("conversations_ended_total", "quit", "submissions"): 1,
    ("conversations_ended_total", "refused", "submissions"): 1,
    ("conversations_ended_total", "client_gone", "submissions"): 1,
    ("conversations_ended_total", "quit", "mx"): 1,
    ("tls_handshakes_total", "client", "submission", "TLSv1.3"): 2,
    ("tls_handshakes_total", "client", "submissions", "TLSv1.3"): 3,
    ("auth_attempts_total", "submission", "PLAIN", "accepted"): 1,
    ("auth_attempts_total", "submission", "LOGIN", "accepted"): 1,
    ("auth_attempts_total", "submission", "PLAIN", "clear_refused"): 2,
    ("auth_attempts_total", "submission", "LOGIN", "clear_refused"): 1,
    ("auth_attempts_total", "submissions", "PLAIN", "rejected"): 3,
    ("auth_attempts_total", "submissions", "PLAIN", "malformed"): 1,
    ("auth_attempts_total", "submissions", "LOGIN", "cancelled"): 1,
    ("auth_attempts_total", "submissions", "CRAM-MD5", "mechanism_refused"): 1,
    ("auth_attempts_total", "submissions", "LOGIN", "abandoned"): 1,
    ("auth_clear_refused_total", "submission", "PLAIN"): 2,
    ("auth_clear_refused_total", "submission", "LOGIN"): 1,
    ("auth_credentials_exposed_total", "submission", "PLAIN"): 1,
    ("auth_rewrites_total", "PLAIN", "accepted", "PLAIN"): 1,
    ("auth_rewrites_total", "LOGIN", "accepted", "PLAIN"): 1,
    ("auth_rewrites_total", "PLAIN", "rejected", "PLAIN"): 3,
    ("limits_hit_total", "login_failures", "submissions"): 1,
    ("refusals_total", "submission", "tls_required"): 3,
    ("refusals_total", "submissions", "credentials_invalid"): 3,
    ("refusals_total", "submissions", "too_many_failures"): 1,
    ("refusals_total", "submissions", "cannot_decode"): 1,
    ("refusals_total", "submissions", "auth_cancelled"): 1,
    ("refusals_total", "submissions", "mechanism_unknown"): 1,
    ("messages_total", "submission", "accepted"): 3,
    ("message_recipients_total", "submission"): 5,
    ("message_body_bytes_total", "submission"): 3 * len(SENT),
    ("messages_total", "mx", "accepted"): 1,
    ("message_recipients_total", "mx"): 1,
    ("message_body_bytes_total", "mx"): len(SENT),
}


def play(gate: Gatepost, folder: Path) -> None:
    submission = Door(gate.ports["submission"], implicit=False, authority=folder / "ca.pem", folder=folder)
    submissions = Door(gate.ports["submissions"], implicit=True, authority=folder / "ca.pem", folder=folder)
    with connected(submission) as client:
        client.ehlo("client.example")
        assert client.docmd("AUTH", f"PLAIN {BLOB}")[0] == 235
        for recipients in (["bob@example.com"], ["bob@example.com", "cem@example.com"]):
            client.sendmail("ann@example.org", recipients, TRICKY, ["BODY=8BITMIME"])
    with connected(submission) as client:
        client.ehlo("client.example")
        client.user, client.password = USER, PASSWORD
        client.auth("LOGIN", client.auth_login)
        client.sendmail("ann@example.org", ["bob@example.com", "cem@example.com"], TRICKY, ["BODY=8BITMIME"])
    with smtplib.SMTP(NAME, gate.ports["submission"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("client.example")
        for argument in (f"PLAIN {BLOB}", "PLAIN", "LOGIN"):
            assert client.docmd("AUTH", argument)[0] == 530
    play_failures(submissions)
    with smtplib.SMTP(NAME, gate.ports["mx"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("mx.example.org")
        client.sendmail("ann@example.org", ["bob@example.net"], TRICKY, ["BODY=8BITMIME"])


def play_failures(door: Door) -> None:
    client = connected(door)
    client.ehlo("client.example")
    assert [client.docmd("AUTH", f"PLAIN {WRONG}")[0] for _ in range(3)] == [535, 535, 535]
    assert client.getreply()[0] == 421
    client.close()
    with connected(door) as client:
        client.ehlo("client.example")
        assert client.docmd("AUTH", "PLAIN ///=")[0] == 501
        assert client.docmd("AUTH", "LOGIN")[0] == 334
        assert client.docmd("*")[0] == 501
        assert client.docmd("AUTH", "CRAM-MD5")[0] == 504
    client = connected(door)
    client.ehlo("client.example")
    assert client.docmd("AUTH", "LOGIN")[0] == 334
    client.close()


def tally(events: Iterable[Event], name: str, *keys: str) -> dict[Series, float]:
    counted = Counter((name, *(str(event[key]) for key in keys)) for event in events)
    return {series: float(number) for series, number in counted.items()}


def total(events: Iterable[Event], name: str, key: str) -> dict[Series, float]:
    sums: Counter[Series] = Counter()
    for event in events:
        if value := event.get(key):
            assert isinstance(value, int)
            sums[name, str(event["gatepost.listener"])] += value
    return {series: float(number) for series, number in sums.items()}


def of(counts: dict[Series, float], name: str) -> dict[Series, float]:
    return {series: number for series, number in counts.items() if series[0] == name}


def test_metrics_and_log_agree_with_what_was_played(postfix: Postfix, folder: Path) -> None:
    settings = {"address": f"127.0.0.1:{postfix.ports.clear}", "tls": "never", "probe_seconds": 3600}
    with running(folder, settings) as gate:
        gate.event("upstream up")
        play(gate, folder)
        gate.log.expect('"event": "conversation"', skip=CONVERSATIONS - 1)
        counts = gate.counts()
        conversations, attempts = gate.events("conversation"), gate.events("authentication")
    assert counts == EXPECTED
    listener = "gatepost.listener"
    assert of(counts, "conversations_total") == tally(conversations, "conversations_total", listener)
    ended = tally(conversations, "conversations_ended_total", "gatepost.ending", listener)
    assert of(counts, "conversations_ended_total") == ended
    results = tally(attempts, "auth_attempts_total", listener, "gatepost.auth.mechanism", "gatepost.auth.result")
    assert of(counts, "auth_attempts_total") == results
    for name, key in (("message_recipients_total", "recipients"), ("message_body_bytes_total", "body.size")):
        assert of(counts, name) == total(conversations, name, f"gatepost.{key}")
    accepted = total(conversations, "messages_total", "gatepost.messages.accepted")
    assert {series[:2]: number for series, number in of(counts, "messages_total").items()} == accepted
    exposed = [event for event in conversations if event.get("gatepost.auth.exposed")]
    assert len(exposed) == sum(of(counts, "auth_credentials_exposed_total").values())
